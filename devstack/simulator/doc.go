// Package simulator stands in for the external services of transcription and compression: it consumes requests from
// Kafka and answers on the topics of results, with transcripts that look like speech. What it says of a video follows
// from the video's id alone, so that a test can work out what must have been stored. Told to, at the start or while it
// runs, it is slow, silent, repeats itself, answers out of order, in every accepted form, or before it is asked.
package simulator
