package simulator

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
)

// Stats count since the start; Pending are the requests that wait for their answers.
type Stats struct {
	Requests       int64 `json:"requests"`
	Ignored        int64 `json:"ignored"`
	Transcriptions int64 `json:"transcriptions"`
	Compressions   int64 `json:"compressions"`
	Pending        int64 `json:"pending"`
}

// Stats of now.
func (s *Simulator) Stats() Stats {
	return Stats{
		Requests: s.requests.Load(), Ignored: s.ignored.Load(), Transcriptions: s.transcriptions.Load(),
		Compressions: s.compressions.Load(), Pending: s.pending.Load(),
	}
}

// Control serves changes of behaviour, for a listener on loopback:
//
//	GET   /behaviour   the Behaviour
//	PUT   /behaviour   another one, members that are left out being those of DefaultBehaviour
//	PATCH /behaviour   another one, members that are left out staying
//	POST  /emit        an Emission; answers with a list of Sent
//	GET   /stats       the Stats
func (s *Simulator) Control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /behaviour", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, s.Behaviour()) })
	mux.HandleFunc("PUT /behaviour", func(w http.ResponseWriter, r *http.Request) { s.change(w, r, DefaultBehaviour()) })
	mux.HandleFunc("PATCH /behaviour", func(w http.ResponseWriter, r *http.Request) { s.change(w, r, s.Behaviour()) })
	mux.HandleFunc("POST /emit", func(w http.ResponseWriter, r *http.Request) {
		var e Emission
		err := readJSON(r.Body, &e)
		if err != nil {
			refuse(w, http.StatusBadRequest, err)
			return
		}
		sent, err := s.Emit(r.Context(), e)
		if err != nil {
			refuse(w, http.StatusUnprocessableEntity, err)
			return
		}
		writeJSON(w, http.StatusOK, sent)
	})
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, s.Stats()) })
	return mux
}

func (s *Simulator) change(w http.ResponseWriter, r *http.Request, b Behaviour) {
	err := readJSON(r.Body, &b)
	if err == nil {
		err = s.Behave(b)
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	writeJSON(w, http.StatusOK, b)
}

func refuse(w http.ResponseWriter, status int, err error) {
	writeJSON(w, status, map[string]string{"error": err.Error()})
}

// readJSON refuses members that v does not have, and anything after it.
func readJSON(from io.Reader, v any) error {
	decoder := json.NewDecoder(from)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(v); err != nil {
		return err
	}
	if decoder.More() {
		return errors.New("more than one JSON value")
	}
	return nil
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a client that is gone is no error of ours
}
