// Package audit looks at a pipeline from outside, after it has come to rest, and says what was lost, what was done
// twice and what is stuck. It shares no code with the pipeline: it has its own SQL, its own reading of the topics and of
// the objects, its own decoder and its own order of positions. It may not import any package of the main module.
//
// Gather collects Evidence from the servers; Judge, which does no I/O, finds what is wrong with it.
package audit
