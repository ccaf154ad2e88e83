package contract

// DeadLetterSuffix is what the name of a topic's dead-letter topic ends with.
const DeadLetterSuffix = ".dlq"

// Headers of the records that vidflow produces. Those of the first group are on every record, the request's and a
// transcript's that was put in over HTTP; the second group is on transcription requests.
const (
	HeaderContentType = "content-type" // always ContentTypeJSON
	HeaderTimestamp   = "timestamp"    // unix milliseconds, decimal

	HeaderIdempotencyKey = "idempotency-key" // Ask.Key
	HeaderTraceparent    = "traceparent"     // Ask.Traceparent, or the span of the sender, of a result too

	ContentTypeJSON = "application/json"
)

// Headers of a dead letter, beside those that the record had. The origin says which record it was; a record that comes
// back from the dead-letter topic carries it still, and takes its Position from it.
const (
	HeaderOriginTopic     = "vidflow-origin-topic"
	HeaderOriginTopicID   = "vidflow-origin-topic-id"  // UUID
	HeaderOriginPartition = "vidflow-origin-partition" // decimal
	HeaderOriginOffset    = "vidflow-origin-offset"    // decimal
	HeaderOriginTime      = "vidflow-origin-time"      // unix milliseconds, decimal: the time of the Position

	HeaderReason  = "vidflow-reason"  // a sentence for people
	HeaderClass   = "vidflow-class"   // a PoisonError's Class
	HeaderVersion = "vidflow-version" // of the program that gave up on the record
	HeaderHost    = "vidflow-host"

	// On a dead letter that its topic refused as too large and that went without its value:
	HeaderSize   = "vidflow-size"   // of the value left out, in bytes, decimal
	HeaderSHA256 = "vidflow-sha256" // of the value left out, hexadecimal
)

// Headers of records in a dead-letter topic that are no dead letters; whoever reads letters passes over these.
const (
	// HeaderRedriven is on a receipt, which says that letters of one origin were sent back to their topic. Its value is the
	// letters' partitions and offsets in the dead-letter topic, "0/12 0/15"; the headers of the origin are beside it.
	HeaderRedriven = "vidflow-redriven"
	// HeaderRedrivenTo is on a receipt as well: the partition and offset in the origin's topic that the record got.
	HeaderRedrivenTo = "vidflow-redriven-to"
	// HeaderCheck is on a record that `vidflow kafka check` wrote, to read it back.
	HeaderCheck = "vidflow-check"
)
