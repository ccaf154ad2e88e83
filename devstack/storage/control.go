package storage

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Control serves the order of faults and the log of uploads, for a listener on loopback of its own:
//
//	POST   /faults                              order a Fault (JSON)
//	GET    /faults                              those not yet used up
//	DELETE /faults                              none any more
//	GET    /uploads?path=&state=&min=&wait=5s   the log; waits until min lines fit, 504 when they do not in time
//	DELETE /uploads                             forget the log
//	POST   /release?path=&land=false            let held uploads land (or vanish), and wait until they have; {"released": n}
//
// path is a part of an object's path.
func (s *Server) Control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /faults", func(w http.ResponseWriter, r *http.Request) {
		var f Fault
		decoder := json.NewDecoder(r.Body)
		decoder.DisallowUnknownFields()
		err := decoder.Decode(&f)
		if err == nil {
			err = f.check()
		}
		if err != nil {
			writeJSON(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
			return
		}
		s.faults.order(f)
		writeJSON(w, http.StatusCreated, f)
	})
	mux.HandleFunc("GET /faults", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, s.faults.list())
	})
	mux.HandleFunc("DELETE /faults", func(w http.ResponseWriter, _ *http.Request) {
		s.faults.clear()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /uploads", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		atLeast, _ := strconv.Atoi(q.Get("min"))
		wait, _ := time.ParseDuration(q.Get("wait"))
		ctx, cancel := context.WithTimeout(r.Context(), wait)
		defer cancel()
		list, err := s.uploads.list(ctx, q.Get("path"), State(q.Get("state")), atLeast)
		if err != nil {
			writeJSON(w, http.StatusGatewayTimeout, list)
			return
		}
		writeJSON(w, http.StatusOK, list)
	})
	mux.HandleFunc("DELETE /uploads", func(w http.ResponseWriter, _ *http.Request) {
		s.uploads.clear()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /release", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		n, err := s.uploads.release(r.Context(), q.Get("path"), q.Get("land") != "false")
		if err != nil {
			return // the client is gone
		}
		writeJSON(w, http.StatusOK, map[string]int{"released": n})
	})
	return mux
}

// Controller is a client of Control, at URL.
type Controller struct{ URL string }

// Order orders a fault.
func (c Controller) Order(ctx context.Context, f Fault) error {
	body, err := json.Marshal(f)
	if err != nil {
		return err
	}
	return c.call(ctx, http.MethodPost, "/faults", nil, body, nil)
}

// Clear forgets the faults that are not yet used up.
func (c Controller) Clear(ctx context.Context) error {
	return c.call(ctx, http.MethodDelete, "/faults", nil, nil, nil)
}

// Release lets the held uploads land whose path contains path, and returns how many when they have.
func (c Controller) Release(ctx context.Context, path string) (int, error) {
	var answer struct{ Released int }
	err := c.call(ctx, http.MethodPost, "/release", url.Values{"path": {path}}, nil, &answer)
	return answer.Released, err
}

// Uploads returns the log's lines whose path contains path and whose state is state (any when empty), once there are at
// least atLeast of them; an error when there are not within wait.
func (c Controller) Uploads(ctx context.Context, path string, state State, atLeast int, wait time.Duration) ([]Upload, error) {
	var list Uploads
	err := c.call(ctx, http.MethodGet, "/uploads", url.Values{
		"path": {path}, "state": {string(state)}, "min": {strconv.Itoa(atLeast)}, "wait": {wait.String()},
	}, nil, &list)
	return list.Uploads, err
}

func (c Controller) call(ctx context.Context, method, path string, q url.Values, body []byte, answer any) error {
	req, err := http.NewRequestWithContext(ctx, method, c.URL+path+"?"+q.Encode(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s: %s", method, path, res.Status, data)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(data, answer)
}
