// Package replay holds the histories of runs against the code of the workflow, as a worker does that takes a run up again:
// one file's at a time for tests, or those of a whole namespace before a new version of the worker is let loose on it.
//
// It reads histories and changes nothing. It knows Temporal and the workflow, and neither activities nor any server but
// Temporal's.
package replay
