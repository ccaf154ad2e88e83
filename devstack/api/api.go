// Package api calls the HTTP API of vidflow, for the smoke test, the end-to-end tests and the benchmark. It knows of the answers only
// what those look at.
package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/codeendelea/vidflow/internal/contract"
)

// Client is a caller with a token. It is safe for concurrent use.
type Client struct {
	// URL of the API, without a path.
	URL string
	// Token is sent with every request.
	Token string
}

// caller keeps a connection for each of many callers, where http.DefaultClient keeps two.
var caller = func() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = transport.MaxIdleConns
	return &http.Client{Transport: transport}
}()

// NewVideo is the body of a creation.
type NewVideo struct {
	Title       string `json:"title"`
	Description string `json:"description"`
	CameraURL   string `json:"camera_video_url"`
	Level       string `json:"level"`
}

// Video is what GET …/pipeline says.
type Video struct {
	ID            contract.VideoID `json:"id"`
	CameraURL     string           `json:"camera_video_url"`
	TranscriptURL string           `json:"transcript_url"`
	Pipeline      struct {
		State         string `json:"state"`
		Transcription struct {
			State     contract.TrackState `json:"state"`
			Asks      int                 `json:"asks"`
			Language  string              `json:"language"`
			Duration  float64             `json:"duration"`
			Words     int                 `json:"words"`
			LastError *string             `json:"last_error"`
		} `json:"transcription"`
		Compression struct {
			State     contract.TrackState `json:"state"`
			LastError *string             `json:"last_error"`
		} `json:"compression"`
		DeadLetters struct {
			Count  int `json:"count"`
			Open   int `json:"open"`
			Latest *struct {
				Class string `json:"class"`
			} `json:"latest"`
		} `json:"dead_letters"`
	} `json:"pipeline"`
}

// Done says whether both tracks are.
func (v Video) Done() bool {
	return v.Pipeline.Transcription.State == contract.Done && v.Pipeline.Compression.State == contract.Done
}

// StatusError is an answer that is no success.
type StatusError struct {
	Status int
	Body   string
}

func (e *StatusError) Error() string { return fmt.Sprintf("the API answered %d: %s", e.Status, e.Body) }

// Create creates a video in a course.
func (c Client) Create(ctx context.Context, course string, v NewVideo) (Video, error) {
	return c.video(ctx, http.MethodPost, "/api/courses/"+course+"/videos", v)
}

// Pipeline reads a video.
func (c Client) Pipeline(ctx context.Context, id contract.VideoID) (Video, error) {
	return c.video(ctx, http.MethodGet, "/api/videos/"+string(id)+"/pipeline", nil)
}

// Delete deletes a video.
func (c Client) Delete(ctx context.Context, id contract.VideoID) error {
	_, err := c.do(ctx, http.MethodDelete, "/api/videos/"+string(id), nil)
	return err
}

// Await reads a video until it is as wanted, and answers its last state also when ctx ends before.
func (c Client) Await(ctx context.Context, id contract.VideoID, wanted func(Video) bool) (Video, error) {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	var last Video
	for {
		v, err := c.Pipeline(ctx, id)
		if err == nil {
			last = v
			if wanted(v) {
				return v, nil
			}
		}
		select {
		case <-ctx.Done():
			state, _ := json.Marshal(last.Pipeline)
			return last, fmt.Errorf("video %s: %w; its last state was %s", id, ctx.Err(), state)
		case <-ticker.C:
		}
	}
}

func (c Client) video(ctx context.Context, method, path string, body any) (Video, error) {
	answer, err := c.do(ctx, method, path, body)
	if err != nil {
		return Video{}, err
	}
	var v struct{ Data Video }
	if err := json.Unmarshal(answer, &v); err != nil {
		return Video{}, fmt.Errorf("%s %s: %w in %s", method, path, err, answer)
	}
	return v.Data, nil
}

func (c Client) do(ctx context.Context, method, path string, body any) ([]byte, error) {
	var content io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(encoded)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.URL+path, content)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.Token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := caller.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	const most = 1 << 20
	answer, err := io.ReadAll(io.LimitReader(resp.Body, most))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	if resp.StatusCode/100 != 2 {
		return nil, fmt.Errorf("%s %s: %w", method, path, &StatusError{Status: resp.StatusCode, Body: string(answer)})
	}
	return answer, nil
}
