// Package starter is the HTTP API: it creates and deletes videos, tells how far their pipelines are, takes transcripts
// put in by hand, and starts workflows.
//
// Two rules shape it. What a caller was told is so in the database: creating and deleting commit the row and the intent
// to act in one transaction and need nothing but Postgres, and reads never ask Temporal. And what could not be done at
// once is done by the Relay, of which any number may run beside each other.
//
// It may import internal packages and the names in workflows. It never touches a transcript's bytes in storage but to
// remove them, never publishes a request for a transcription, and knows the workflow by its name, id and types alone.
package starter
