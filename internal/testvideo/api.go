package testvideo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/codeendelea/vidflow/internal/contract"
)

// APIConfig says whom to ask, and in whose name.
type APIConfig struct {
	// URL of the API, without a path, and the token of somebody who may add videos to the course.
	URL, Token string
	CourseID   string
	VideoURL   string
	// Timeout bounds the whole.
	Timeout time.Duration
	// Keep leaves the video there.
	Keep bool
	// Client is http.DefaultClient when nil.
	Client *http.Client
}

// ErrUnfinished says that the video did not get through its pipeline in time.
var ErrUnfinished = errors.New("the video is not through")

// deleteTimeout is what deleting may take when the test itself is over.
const deleteTimeout = 10 * time.Second

// video is what the API says of one, as far as it is looked at.
type video struct {
	ID            contract.VideoID `json:"id"`
	CameraURL     string           `json:"camera_video_url"`
	TranscriptURL string           `json:"transcript_url"`
	Pipeline      struct {
		State         string `json:"state"`
		Transcription track  `json:"transcription"`
		Compression   track  `json:"compression"`
		DeadLetters   struct {
			Open   int `json:"open"`
			Latest *struct {
				Class  string `json:"class"`
				Reason string `json:"reason"`
			} `json:"latest"`
		} `json:"dead_letters"`
	} `json:"pipeline"`
}

type track struct {
	State     contract.TrackState `json:"state"`
	Asks      int                 `json:"asks"`
	LastError *string             `json:"last_error"`
}

func (t track) String() string {
	s := string(t.State)
	if t.Asks > 0 {
		s += fmt.Sprintf(" (asks: %d)", t.Asks)
	}
	if t.LastError != nil {
		s += ": " + *t.LastError
	}
	return s
}

func (v video) String() string {
	s := fmt.Sprintf("%s; transcription %s; compression %s", v.Pipeline.State, v.Pipeline.Transcription, v.Pipeline.Compression)
	if d := v.Pipeline.DeadLetters; d.Open > 0 && d.Latest != nil {
		s += fmt.Sprintf("; dead letters: %d, the latest %s: %s", d.Open, d.Latest.Class, d.Latest.Reason)
	}
	return s
}

// OverAPI creates a video, tells of each change until both results are in or one is given up, and deletes it again.
func OverAPI(ctx context.Context, cfg APIConfig, tell func(Step)) error {
	if cfg.Client == nil {
		cfg.Client = http.DefaultClient
	}
	began := time.Now()
	following, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	v, err := cfg.call(following, http.MethodPost, "/api/courses/"+cfg.CourseID+"/videos", map[string]any{
		"title": "Test video of vidflow", "description": "Sent by vidflow kafka send-test-video; it may be deleted.",
		"camera_video_url": cfg.VideoURL, "level": "beginner",
	})
	if err != nil {
		return fmt.Errorf("create the test video: %w", err)
	}
	tell(Step{After: time.Since(began), Name: Created, Text: "video " + string(v.ID) + " was created"})
	err = cfg.follow(following, v.ID, began, tell)
	if !cfg.Keep {
		deleting, cancel := context.WithTimeout(context.WithoutCancel(ctx), deleteTimeout)
		defer cancel()
		if _, failed := cfg.call(deleting, http.MethodDelete, "/api/videos/"+string(v.ID), nil); failed != nil {
			return errors.Join(err, fmt.Errorf("delete the test video %s: %w", v.ID, failed))
		}
		tell(Step{After: time.Since(began), Name: Deleted, Text: "and deleted again"})
	}
	return err
}

func (c APIConfig) follow(ctx context.Context, id contract.VideoID, began time.Time, tell func(Step)) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	last := "nothing is known of it"
	for {
		v, err := c.call(ctx, http.MethodGet, "/api/videos/"+string(id)+"/pipeline", nil)
		var refused *statusError
		switch {
		case errors.As(err, &refused) && refused.final():
			return fmt.Errorf("follow the test video: %w", err)
		case err == nil && v.String() != last:
			last = v.String()
			tell(Step{After: time.Since(began), Name: Changed, Text: last})
		}
		switch v.Pipeline.State {
		case "done":
			if v.Pipeline.Transcription.State == contract.Done && v.Pipeline.Compression.State == contract.Done {
				tell(Step{After: time.Since(began), Name: Transcript, Text: v.TranscriptURL})
				tell(Step{After: time.Since(began), Name: Compression, Text: v.CameraURL})
				return nil
			}
		case "failed":
			return fmt.Errorf("%w: %s", ErrUnfinished, last)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return ctx.Err()
			}
			return fmt.Errorf("%w within %s: %s", ErrUnfinished, c.Timeout, last)
		}
	}
}

// statusError is an answer that is no success.
type statusError struct {
	status int
	text   string
}

func (e *statusError) Error() string { return fmt.Sprintf("the API answers %d: %s", e.status, e.text) }

// final reports whether it is of no use to ask again.
func (e *statusError) final() bool { return e.status < 500 && e.status != http.StatusTooManyRequests }

func (c APIConfig) call(ctx context.Context, method, path string, body any) (video, error) {
	var content io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return video{}, err
		}
		content = bytes.NewReader(encoded)
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(c.URL, "/")+path, content)
	if err != nil {
		return video{}, err
	}
	req.Header.Set("Authorization", "Bearer "+c.Token)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.Client.Do(req)
	if err != nil {
		return video{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return video{}, err
	}
	if resp.StatusCode >= 300 {
		var problem struct {
			Error string `json:"error"`
		}
		if json.Unmarshal(answer, &problem) != nil || problem.Error == "" {
			problem.Error = contract.Clip(string(answer), 200)
		}
		return video{}, &statusError{resp.StatusCode, problem.Error}
	}
	if len(answer) == 0 {
		return video{}, nil
	}
	var ok struct {
		Data video `json:"data"`
	}
	if err := json.Unmarshal(answer, &ok); err != nil {
		return video{}, fmt.Errorf("what answers at %s is not vidflow's API: %w", c.URL, err)
	}
	return ok.Data, nil
}
