package starter

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"

	"github.com/codeendelea/vidflow/internal/bytecache"
	"github.com/codeendelea/vidflow/internal/captions"
	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres"
	"github.com/codeendelea/vidflow/internal/supabase"
)

// Transcripts is the storage that transcripts are in.
type Transcripts interface {
	// Open fails with supabase.ErrNotFound when there is no object at path.
	Open(ctx context.Context, path string) (io.ReadCloser, error)
}

const (
	captionsPath        = "/api/videos/{videoId}/captions.vtt"
	captionsContentType = "text/vtt; charset=utf-8"
	// captionsCacheControl lets everybody keep a file and has them ask each time whether it is still the one: the answer
	// costs one query.
	captionsCacheControl = "public, no-cache"
	// captionsAddressFactor is how many times the limit of a user an address may ask for captions: a lecture hall has one.
	captionsAddressFactor = 10
)

// isCaptions tells the address of captions from every other.
func isCaptions(r *http.Request) bool {
	return strings.HasPrefix(r.URL.Path, "/api/videos/") && strings.HasSuffix(r.URL.Path, "/captions.vtt")
}

type captionsInput struct {
	VideoID     videoIDParam `path:"videoId"`
	IfNoneMatch string       `header:"If-None-Match" doc:"The ETag of the file that the caller has: the answer is 304 while it is the newest."`
}

type captionsOutput struct {
	Status        int
	ContentType   string `header:"Content-Type"`
	ContentLength string `header:"Content-Length"`
	ETag          string `header:"ETag"`
	CacheControl  string `header:"Cache-Control"`
	Body          []byte
}

// captions answers with the file for players. Which one it is the database says, so that nobody who has it already
// makes the storage be read.
func (s *Starter) captions(ctx context.Context, in *captionsInput) (*captionsOutput, error) {
	id := in.VideoID.id
	stored, err := s.store.Transcript(ctx, id)
	switch {
	case errors.Is(err, postgres.ErrNoVideo):
		return nil, noVideo()
	case err != nil:
		return nil, storeProblem(err)
	case stored.Position == nil && stored.Address == "":
		return nil, noTranscript()
	}
	var file []byte
	tag := etagOf(stored.Position)
	if tag == "" || !matches(in.IfNoneMatch, tag) {
		file, err = s.files.file(ctx, id, tag)
		if err != nil {
			return nil, captionsProblem(err)
		}
		if tag == "" {
			tag = contentTag(file)
		}
	}
	out := &captionsOutput{ETag: tag, CacheControl: captionsCacheControl}
	if matches(in.IfNoneMatch, tag) {
		out.Status = http.StatusNotModified
		return out, nil
	}
	out.Status, out.ContentType, out.Body = http.StatusOK, captionsContentType, file
	out.ContentLength = strconv.Itoa(len(file))
	return out, nil
}

func noTranscript() *Problem {
	return problem(http.StatusNotFound, "no_transcript", "The video has no transcript yet.")
}

func captionsProblem(err error) *Problem {
	var e *supabase.Error
	switch {
	case errors.Is(err, supabase.ErrNotFound):
		return noTranscript().because(err)
	case errors.As(err, &e) && e.Final():
		return internalError(err)
	case errors.As(err, &e), errors.Is(err, context.DeadlineExceeded):
		return unavailable("The storage", err)
	}
	return internalError(err)
}

// etagOf names the file that is made of the result with that position; empty without one. It is weak: a transcript that
// is uploaded and not yet applied may be read under the tag of the one before.
func etagOf(p *contract.Position) string {
	if p == nil {
		return ""
	}
	return tagged(p.String())
}

// contentTag names the file of a transcript that vidflow did not store and so knows no position of.
func contentTag(file []byte) string { return tagged(string(file)) }

func tagged(what string) string {
	sum := sha256.Sum256([]byte(what))
	return fmt.Sprintf(`W/"%d-%s"`, captions.Version, hex.EncodeToString(sum[:12]))
}

// completeCaptions declares what huma cannot know of a body that is no JSON.
func completeCaptions(o *huma.Operation) {
	text := &huma.Schema{Type: huma.TypeString}
	ok := o.Responses["200"]
	ok.Description = "A WebVTT file."
	ok.Content = map[string]*huma.MediaType{"text/vtt": {Schema: text}}
	delete(ok.Headers, "Content-Type")
	headers := map[string]*huma.Param{"ETag": ok.Headers["ETag"], "Cache-Control": ok.Headers["Cache-Control"]}
	o.Responses["304"] = &huma.Response{Description: "The file that the caller has is the newest.", Headers: headers}
}

// matches compares as RFC 9110, 13.1.2 says: weakly.
func matches(ifNoneMatch, tag string) bool {
	for candidate := range strings.SplitSeq(ifNoneMatch, ",") {
		candidate = strings.TrimSpace(candidate)
		if candidate == "*" || strings.TrimPrefix(candidate, "W/") == strings.TrimPrefix(tag, "W/") {
			return true
		}
	}
	return false
}

const (
	// keptBytes bounds the files that are kept, none of which pushes out most of the others. An hour of speech has up to 150 KB.
	keptBytes = 64 << 20
	// filesAtOnce bounds memory, and of transcripts of more than largeBytes, of which every further megabyte takes about
	// another two while a file is made of it, one at a time is read to its end.
	filesAtOnce = 4
	largeBytes  = 4 << 20
	fileTimeout = 30 * time.Second
)

// captionFiles makes files and keeps them. Whoever wants the same file while it is made waits for it.
type captionFiles struct {
	transcripts Transcripts
	kept        *bytecache.Cache[string]
	making      singleflight.Group
	slots       *semaphore.Weighted
	large       *semaphore.Weighted
}

func newCaptionFiles(transcripts Transcripts) *captionFiles {
	return &captionFiles{
		transcripts: transcripts, kept: bytecache.New[string](keptBytes, keptBytes/2),
		slots: semaphore.NewWeighted(filesAtOnce), large: semaphore.NewWeighted(1),
	}
}

// file is the one of a video that tag names; an empty tag names none, and then it is made anew.
func (c *captionFiles) file(ctx context.Context, id contract.VideoID, tag string) ([]byte, error) {
	key := id.String() + " " + tag
	if tag != "" {
		if file, ok := c.kept.Get(key); ok {
			return file, nil
		}
	}
	// Made for all who wait for it, and so not ended by the first one's going away.
	detached := context.WithoutCancel(ctx)
	made := c.making.DoChan(key, func() (any, error) {
		if file, ok := c.kept.Get(key); ok { // made between the look above and this call
			return file, nil
		}
		ctx, cancel := context.WithTimeout(detached, fileTimeout)
		defer cancel()
		file, err := c.make(ctx, id)
		if err == nil && tag != "" {
			c.kept.Put(key, file)
		}
		return file, err
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case result := <-made:
		file, _ := result.Val.([]byte)
		return file, result.Err
	}
}

func (c *captionFiles) make(ctx context.Context, id contract.VideoID) ([]byte, error) {
	if err := c.slots.Acquire(ctx, 1); err != nil {
		return nil, fmt.Errorf("wait to read the transcript of video %s: %w", id, err)
	}
	defer c.slots.Release(1)
	stored, err := c.transcripts.Open(ctx, id.TranscriptPath())
	if err != nil {
		return nil, err
	}
	defer stored.Close()
	in := &largeReader{Reader: stored, ctx: ctx, large: c.large}
	defer in.release()
	file, err := captions.FromTranscript(in)
	if err != nil {
		return nil, fmt.Errorf("captions of video %s: %w", id, err)
	}
	return file, nil
}

// largeReader reads past largeBytes when no other does.
type largeReader struct {
	io.Reader
	ctx   context.Context // of the request that it is read for
	large *semaphore.Weighted
	read  int
	holds bool
}

// Read implements io.Reader.
func (r *largeReader) Read(p []byte) (int, error) {
	if r.read > largeBytes && !r.holds {
		if err := r.large.Acquire(r.ctx, 1); err != nil {
			return 0, fmt.Errorf("wait to read a large transcript: %w", err)
		}
		r.holds = true
	}
	n, err := r.Reader.Read(p)
	r.read += n
	return n, err
}

func (r *largeReader) release() {
	if r.holds {
		r.large.Release(1)
	}
}
