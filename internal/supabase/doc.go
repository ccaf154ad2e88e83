// Package supabase stores transcripts in a bucket of Supabase Storage. It may import storage-go and the standard
// library; it knows nothing of videos, claims or retries: it says of each failure what kind it is, and its callers
// decide.
package supabase
