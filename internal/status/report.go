package status

import (
	"time"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres"
)

// Level is how bad something is.
type Level string

// The levels, the worst first.
const (
	// Broken: something that every video needs is not there.
	Broken Level = "broken"
	// Degraded: it works, and somebody has to see to something.
	Degraded Level = "degraded"
	// Unknown: what could be asked is well, and something could not be asked from here.
	Unknown Level = "unknown"
	OK      Level = "ok"
)

// Reason is one thing that is wrong.
type Reason struct {
	Level Level `json:"level"`
	// What is wrong, a sentence.
	What string `json:"what"`
	// Do is what to do next: a command, or a sentence. May be empty.
	Do string `json:"do,omitempty"`
}

// Report is the state of the pipeline. Its JSON is documented in docs/status.md and only ever gains members. An Error says
// why the rest of its section is missing; ages are in seconds, by the clock of whoever told the time.
type Report struct {
	At           time.Time `json:"at"`
	Milliseconds int64     `json:"milliseconds"` // that it took
	Verdict      Level     `json:"verdict"`
	Reasons      []Reason  `json:"reasons"` // the worst first

	Worker      Worker      `json:"worker"`
	Starter     Starter     `json:"starter"`
	Kafka       Kafka       `json:"kafka"`
	Outbox      Outbox      `json:"outbox"`
	Videos      Videos      `json:"videos"`
	DeadLetters DeadLetters `json:"dead_letters"`
	Temporal    Temporal    `json:"temporal"`
	Postgres    Postgres    `json:"postgres"`
	Storage     Storage     `json:"storage"`
}

// Worker is who polls the task queue.
type Worker struct {
	Error     string   `json:"error,omitempty"`
	TaskQueue string   `json:"task_queue"`
	Pollers   []Poller `json:"pollers"`
	// Versions are those that get new videos, and how much of them; one that is unversioned unless Worker Versioning is used.
	Versions []VersionShare `json:"versions"`
	// Stranded is how many open runs belong to a version that no worker is of, and StrandedVersion one of these.
	Stranded        int64  `json:"stranded"`
	StrandedVersion string `json:"stranded_version,omitempty"`
	// Unserved says that one of Versions has no worker, and Mend what to do: a reason of the report.
	Unserved string `json:"-"`
	Mend     string `json:"-"`
	// Backlog is about how many tasks nobody has taken yet, and BacklogSeconds how long the oldest of them waits.
	Backlog        int64   `json:"backlog"`
	BacklogSeconds float64 `json:"backlog_seconds"`
}

// VersionShare is a version of the worker and how much of the new videos it gets, in percent.
type VersionShare struct {
	Version    string  `json:"version"`
	Percentage float32 `json:"percentage"`
}

// Poller is a worker that asked for tasks lately.
type Poller struct {
	Identity   string    `json:"identity"`
	LastAccess time.Time `json:"last_access"`
	AgeSeconds float64   `json:"age_seconds"`
	// Version is the deployment and the build, or "unversioned".
	Version string `json:"version"`
	// Silent says that it ought to have asked again by now.
	Silent bool `json:"silent"`
	// Stopped says that it told Temporal that it ends. One that was killed did not, and falls silent.
	Stopped bool `json:"stopped"`
}

// Starter is who is connected to the database under the starter's name, and whether the API answers.
type Starter struct {
	Error    string    `json:"error,omitempty"`
	Sessions []Session `json:"sessions"`
	// Pooled says that a pooler is in between: it lends its connections to everybody, so that they say nothing.
	Pooled bool `json:"pooled"`
	// API is its address, if it was given, and APIError why it does not answer.
	API      string `json:"api,omitempty"`
	APIError string `json:"api_error,omitempty"`
}

// Session is what comes from one address.
type Session struct {
	Address     string   `json:"address"` // empty when the database does not tell
	Connections int      `json:"connections"`
	AgeSeconds  *float64 `json:"age_seconds"` // since the last statement; null when the database does not tell
}

// Kafka is the consumer groups. The first two are the bridge's, the third is the one in which the API learns of dead letters.
type Kafka struct {
	Error  string  `json:"error,omitempty"`
	Groups []Group `json:"groups"`
}

// Group is a consumer group and how far behind it is.
type Group struct {
	Error string `json:"error,omitempty"`
	Name  string `json:"name"`
	// Topics that it reads.
	Topics   []string `json:"topics"`
	State    string   `json:"state"`
	Protocol string   `json:"protocol,omitempty"`
	Members  []Member `json:"members"`
	// Lag is how many records are not acknowledged; Oldest the time of the oldest of them, null when there is none or it
	// may not be read, which OldestError then says.
	Lag         int64      `json:"lag"`
	Oldest      *time.Time `json:"oldest"`
	LagSeconds  *float64   `json:"lag_seconds"`
	OldestError string     `json:"oldest_error,omitempty"`
}

// Member is a consumer of a group.
type Member struct {
	ClientID   string `json:"client_id"`
	Host       string `json:"host"`
	Partitions int    `json:"partitions"`
}

// Outbox is what was committed and is yet to be done.
type Outbox struct {
	Error   string   `json:"error,omitempty"`
	Intents []Intent `json:"intents"`
}

// Intent is all intents of one kind.
type Intent struct {
	Kind       postgres.IntentKind `json:"kind"`
	Count      int                 `json:"count"`
	Oldest     *time.Time          `json:"oldest"`
	AgeSeconds float64             `json:"age_seconds"`
	LastError  string              `json:"last_error,omitempty"`
	Attempts   int                 `json:"attempts"` // the most that one needed so far
}

// Videos is what the videos wait for.
type Videos struct {
	Error string `json:"error,omitempty"`
	// Unfinished are those with something to wait for, of either track.
	Unfinished    int   `json:"unfinished"`
	Transcription Queue `json:"transcription"`
	Compression   Queue `json:"compression"`
	Overdue       Queue `json:"overdue"`
	// Unattended are those of which a deadline has passed more than five minutes ago, and nothing was done.
	Unattended Queue `json:"unattended"`
	// Troubled are those of which a step fails and is tried again; TroubledError is what is said of the oldest of them.
	Troubled      Queue  `json:"troubled"`
	TroubledError string `json:"troubled_error,omitempty"`
	// Failed are those that were given up; FailedLately in the last 24 hours.
	Failed       int       `json:"failed"`
	FailedLately int       `json:"failed_lately"`
	Newest       []GivenUp `json:"newest_failed"`
}

// Queue is how many videos wait for one thing, and which the longest.
type Queue struct {
	Count  int      `json:"count"`
	Oldest *Waiting `json:"oldest"`
}

// Waiting is a video, and since when it waits.
type Waiting struct {
	VideoID    contract.VideoID `json:"video_id"`
	Since      time.Time        `json:"since"`
	AgeSeconds float64          `json:"age_seconds"`
	Asks       int              `json:"asks"`
}

// GivenUp is a track that was given up.
type GivenUp struct {
	VideoID    contract.VideoID `json:"video_id"`
	Track      contract.Track   `json:"track"`
	At         *time.Time       `json:"at"`
	AgeSeconds float64          `json:"age_seconds"`
	Reason     string           `json:"reason"`
}

// DeadLetters are those that were neither sent back nor overtaken by a newer result.
type DeadLetters struct {
	Error  string        `json:"error,omitempty"`
	Open   int           `json:"open"`
	Kinds  []LetterCount `json:"kinds"`
	Newest []Letter      `json:"newest"`
}

// LetterCount is how many of one topic and class are open.
type LetterCount struct {
	Topic      string    `json:"topic"`
	Class      string    `json:"class"`
	Count      int       `json:"count"`
	Newest     time.Time `json:"newest"`
	AgeSeconds float64   `json:"age_seconds"`
}

// Letter is a dead letter, named as `vidflow dlq` names it.
type Letter struct {
	Letter     string           `json:"letter"`
	VideoID    contract.VideoID `json:"video_id,omitempty"`
	Class      string           `json:"class"`
	Reason     string           `json:"reason"`
	DiedAt     time.Time        `json:"died_at"`
	AgeSeconds float64          `json:"age_seconds"`
}

// Temporal is the namespace. Its counts are Temporal's own, which may lag behind a few seconds.
type Temporal struct {
	Error     string `json:"error,omitempty"`
	Address   string `json:"address"`
	Namespace string `json:"namespace"`
	OpenRuns  int64  `json:"open_runs"`
	// FailedLately are runs that failed, timed out or were terminated in the last 24 hours.
	FailedLately int64 `json:"failed_lately"`
	// StuckRuns are open runs whose workflow tasks fail again and again; 0 of a server that does not tell.
	StuckRuns int64 `json:"stuck_runs"`
	// MissingAttributes are search attributes that runs would set if they were there; null when the server does not tell.
	MissingAttributes []string `json:"missing_attributes"`
	// CountError says why the counts are missing.
	CountError string `json:"count_error,omitempty"`
}

// Postgres is the database itself.
type Postgres struct {
	Error string `json:"error,omitempty"`
	// Schema is the version of the schema pipeline, SchemaWanted the one that this program has.
	Schema       int64 `json:"schema"`
	SchemaWanted int64 `json:"schema_wanted"`
}

// Storage is where transcripts are kept.
type Storage struct {
	Error  string `json:"error,omitempty"`
	URL    string `json:"url"`
	Bucket string `json:"bucket"`
}
