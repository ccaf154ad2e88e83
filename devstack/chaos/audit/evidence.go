package audit

import (
	"crypto/sha256"
	"time"
)

// Track is one of the two results that a video waits for.
type Track string

// The tracks.
const (
	Transcription Track = "transcription"
	Compressed    Track = "compression"
)

// PoisonHeader marks a record that can never be understood, so that nobody has to decode it to know; the services send
// no such header.
const PoisonHeader = "chaos-poison"

// Place is one record of a topic.
type Place struct {
	Topic     string
	Partition int32
	Offset    int64
}

// Record is one of a result topic.
type Record struct {
	Place
	Position Position
	Track    Track
	Poison   bool

	// Of a record that is no poison: the video, the hash of the bytes to be stored, the URL to be set. Unreadable says
	// why a record that is not marked as poison cannot be understood here, which is a mistake of the test.
	Video      string
	Stored     [sha256.Size]byte
	URL        string
	Unreadable string
}

// Ask is a request for a transcription that was published.
type Ask struct {
	Video  string
	Key    string // of idempotency
	N      int    // the number at the end of it
	Bytes  string
	Time   time.Time
	Offset Place
}

// Effect is a change of a column of public.videos, as the audit trigger saw it: in the order of their commits for each
// video and track.
type Effect struct {
	Video    string
	Track    Track
	Value    string
	Position *Position // nil: none was recorded in the same transaction
	At       time.Time
}

// Row is a video's row at the end.
type Row struct {
	Transcript  string // transcript_url; empty when null
	Camera      string // camera_video_url
	TrackStates map[Track]string
	Positions   map[Track]*Position
}

// Run is an execution of a video's workflow.
type Run struct {
	ID      string
	Status  string
	Started time.Time
}

// Statuses of runs that matter here.
const (
	Running    = "Running"
	Completed  = "Completed"
	Terminated = "Terminated"
)

// Object is what is stored at a video's public URL.
type Object struct {
	There bool
	Sum   [sha256.Size]byte
	Bytes int
}

// Evidence is all that is known of a pipeline at rest.
type Evidence struct {
	// Inserted is how often a row with that title was made; each title is one creation by its caller.
	Inserted map[string]int
	// Tracked are the videos whose row was made by the API, and so must have had a run.
	Tracked map[string]bool
	// Retries counts the calls by which a person asked for another transcription, also those without an answer.
	Retries map[string]int
	// Accepted are the records that Kafka acknowledged to the test.
	Accepted []Place

	Records     []Record
	DeadLetters map[Place]int // by origin
	Asks        []Ask
	Effects     []Effect
	Rows        map[string]Row
	Objects     map[string]Object
	Runs        map[string][]Run // by video, the latest last
	// Waiting is what is left of intents, claims and lag, a sentence each.
	Waiting []string

	// TranscriptURL is that of a video's transcript.
	TranscriptURL func(video string) string
	// AskAgainAfter is how long the pipeline is configured to wait for an answer.
	AskAgainAfter time.Duration
}
