// Package testvideo sends a test video through the pipeline and says what happens to it: over Kafka alone, which asks the
// transcription service and waits for what comes back, or through the API, which creates a video, follows it to its end, and
// deletes it.
package testvideo
