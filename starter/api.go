package starter

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
)

// healthPath is not counted against the rate limit: whoever probes it does so for everybody.
const healthPath = "/api/health"

// apiVersion is that of the API as callers see it, and raised when it changes for them.
const apiVersion = "1.0.0"

// routes builds the whole API. The order of the middleware matters: a request has its id before anything is logged, its
// caller before it is counted, and everything that answers by itself does so inside the log.
func (s *Starter) routes() http.Handler {
	r := chi.NewRouter()
	r.Use(
		withRequestID,
		traced(s.cfg.Traces),
		clientIP(s.cfg.TrustedProxies),
		logged(s.log),
		s.metrics.timed,
		recovered(s.log),
		withSecurityHeaders,
		s.auth.origins.cors(),
		withTimeout(requestTimeout),
		middleware.GetHead,
	)
	r.NotFound(func(w http.ResponseWriter, r *http.Request) {
		problem(http.StatusNotFound, "no_route", "There is nothing at this address.").write(w, r)
	})
	r.MethodNotAllowed(s.methodNotAllowed(r))
	r.Get("/api/docs", serveDocs("docs.html", "text/html; charset=utf-8"))
	r.Get("/api/docs/docs.js", serveDocs("docs.js", "text/javascript; charset=utf-8"))
	r.Get("/api/docs/docs.css", serveDocs("docs.css", "text/css; charset=utf-8"))

	r.Group(func(r chi.Router) {
		r.Use(s.auth.identified, limited(s.cfg))
		api := s.operations(r)
		r.Get("/api/openapi.json", serveOpenAPI(api))
	})
	return r
}

// methodNotAllowed says which methods would be, as RFC 9110 asks.
func (s *Starter) methodNotAllowed(routes chi.Routes) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
			if routes.Match(chi.NewRouteContext(), method, r.URL.Path) {
				w.Header().Add("Allow", method)
			}
		}
		problem(http.StatusMethodNotAllowed, "method_not_allowed", "This address does not know that method.").write(w, r)
	}
}

// operations declares every call. The OpenAPI document is made of these declarations.
func (s *Starter) operations(r chi.Router) huma.API {
	config := huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title:   "vidflow",
				Version: apiVersion,
				Description: "Creates videos and follows their way through the pipeline: transcription and compression.\n\n" +
					"Every answer that is not a success is a problem document (RFC 9457).",
			},
			Servers: []*huma.Server{{URL: "/", Description: "This server"}},
			Tags: []*huma.Tag{
				{Name: "videos", Description: "Create and delete."},
				{Name: "pipeline", Description: "How far a video is."},
				{Name: "transcription", Description: "Put a transcript in, or ask again."},
				{Name: "captions", Description: "For players."},
			},
			Components: &huma.Components{
				Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"bearer": {Type: "http", Scheme: "bearer", BearerFormat: "JWT"},
					"cookie": {Type: "apiKey", In: "cookie", Name: tokenCookie, Description: "For browsers; the Origin is checked."},
				},
			},
		},
		Formats:       map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat},
		DefaultFormat: "application/json",
		Transformers:  []huma.Transformer{problems(s.log)},
	}
	api := humachi.New(r, config)
	api.UseMiddleware(withStatus)
	problemSchema := api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Problem](), true, "Problem")
	op := func(o huma.Operation, errors ...int) huma.Operation {
		if o.Security == nil {
			o.Security = []map[string][]string{{"bearer": {}}, {"cookie": {}}}
			o.Middlewares = huma.Middlewares{s.authorised}
			errors = append(errors, http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests,
				http.StatusInternalServerError, http.StatusServiceUnavailable)
		}
		slices.Sort(errors)
		o.Responses = map[string]*huma.Response{}
		for _, status := range errors {
			o.Responses[strconv.Itoa(status)] = problemResponse(status, problemSchema)
		}
		return o
	}

	huma.Register(api, op(huma.Operation{
		OperationID: "create-video", Method: http.MethodPost, Path: "/api/courses/{courseId}/videos",
		Tags: []string{"videos"}, Summary: "Create a video",
		Description: "Adds the video and sees to it that its transcription is asked for. Works while the message broker and the " +
			"workflow service are down: what cannot be started at once is started later.",
		DefaultStatus: http.StatusCreated, MaxBodyBytes: s.cfg.MaxBodyBytes + 1, BodyReadTimeout: 10 * time.Second,
	}, http.StatusBadRequest, http.StatusNotFound, http.StatusRequestTimeout, http.StatusGone, http.StatusRequestEntityTooLarge,
		http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity), s.create)

	huma.Register(api, op(huma.Operation{
		OperationID: "get-video-pipeline", Method: http.MethodGet, Path: "/api/videos/{videoId}/pipeline",
		Tags: []string{"pipeline"}, Summary: "How far a video is",
		Description: "The video's row and the state of both tracks, as the database has them.",
	}, http.StatusNotFound, http.StatusUnprocessableEntity), s.pipeline)

	huma.Register(api, op(huma.Operation{
		OperationID: "list-course-pipeline", Method: http.MethodGet, Path: "/api/courses/{courseId}/pipeline",
		Tags: []string{"pipeline"}, Summary: "How far the videos of a course are",
		Description: "Newest first, in pages. Videos that are created or deleted between two pages make no other video appear " +
			"twice or not at all.",
	}, http.StatusNotFound, http.StatusUnprocessableEntity), s.coursePipeline)

	stream := func(o huma.Operation) huma.Operation {
		o = op(o, http.StatusNotFound, http.StatusUnprocessableEntity)
		o.Middlewares = huma.Middlewares{s.authorisedStream}
		o.Responses["200"] = &huma.Response{
			Description: "A stream that stays open.",
			Headers:     map[string]*huma.Param{},
			Content: map[string]*huma.MediaType{eventStream: {
				Schema:  &huma.Schema{Type: huma.TypeString, Description: "Server-sent events; the data of a message is a VideoView."},
				Example: "retry: 3000\n\nid: 7\ndata: {\"id\": \"…\", \"pipeline\": {\"state\": \"working\", \"revision\": 7}}\n\n",
			}},
		}
		o.Responses["204"] = &huma.Response{Description: "A reconnect, and there is nothing any more: do not come back."}
		return o
	}
	huma.Register(api, stream(huma.Operation{
		OperationID: "video-events", Method: http.MethodGet, Path: "/api/videos/{videoId}" + eventsPath,
		Tags: []string{"pipeline"}, Summary: "Follow a video",
		Description: "Server-sent events for a browser's EventSource. Each message is the whole state, as the data of " +
			"get-video-pipeline, and its id the revision: the present state first, then each later one, the newest alone when " +
			"several follow each other closely. An event deleted is the last. The stream ends when the token expires.",
	}), s.videoEvents)

	huma.Register(api, stream(huma.Operation{
		OperationID: "course-events", Method: http.MethodGet, Path: "/api/courses/{courseId}" + eventsPath,
		Tags: []string{"pipeline"}, Summary: "Follow the videos of a course",
		Description: "Server-sent events, a message for each video: the present state of all, newest video first, then an event " +
			"complete, then each later state, new videos included. An event deleted names a video that is no longer there. When " +
			"EventSource reconnects within a day, what changed since comes first in the place of all, and the data of complete " +
			"says which: {\"all\": true} or false. A message may be repeated.",
	}), s.courseEvents)

	put := op(huma.Operation{
		OperationID: "put-transcription", Method: http.MethodPut, Path: "/api/videos/{videoId}/transcription",
		Tags: []string{"transcription"}, Summary: "Put a transcript in",
		Description: "For a transcript made by hand, or by a service without Kafka. It is accepted once all replicas of the broker " +
			"have it, and then stored like any other result: a newer one replaces it. When the answer is 503, it may have been " +
			"accepted all the same; sending it again does no harm.",
		DefaultStatus: http.StatusAccepted,
		RequestBody:   &huma.RequestBody{Required: true}, // complete says what it is
	}, http.StatusBadRequest, http.StatusNotFound, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge,
		http.StatusUnprocessableEntity)
	put.Middlewares = append(put.Middlewares, s.withBody)
	huma.Register(api, put, s.putTranscription)

	huma.Register(api, op(huma.Operation{
		OperationID: "retry-transcription", Method: http.MethodPost, Path: "/api/videos/{videoId}/transcription/retry",
		Tags: []string{"transcription"}, Summary: "Ask for a transcription again",
		Description: "With the video's present address. Without force, only for a video whose transcription was given up or " +
			"never asked for.",
		DefaultStatus: http.StatusAccepted, MaxBodyBytes: s.cfg.MaxBodyBytes + 1, BodyReadTimeout: 10 * time.Second,
	}, http.StatusBadRequest, http.StatusNotFound, http.StatusRequestTimeout, http.StatusConflict,
		http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity), s.retry)

	huma.Register(api, op(huma.Operation{
		OperationID: "get-captions", Method: http.MethodGet, Path: captionsPath,
		Tags: []string{"captions"}, Summary: "The captions of a video, for a player",
		Description: "A WebVTT file made of the stored transcript, for the src of a track; without cues when nothing is said. " +
			"Public, as the transcript is, for pages of every origin. To be asked for again each time it is needed, which costs " +
			"little: with the ETag of the file that is known, the answer is 304 while it is the newest.",
		Security: []map[string][]string{},
	}, http.StatusNotFound, http.StatusUnprocessableEntity, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusServiceUnavailable), s.captions)

	const gone = "The row is gone at once; its run and its stored transcript a little later, whatever is down meanwhile and " +
		"whatever arrives later."
	huma.Register(api, op(huma.Operation{
		OperationID: "delete-video", Method: http.MethodDelete, Path: "/api/videos/{videoId}",
		Tags: []string{"videos"}, Summary: "Delete a video", Description: gone,
		DefaultStatus: http.StatusNoContent,
	}, http.StatusNotFound, http.StatusUnprocessableEntity), s.remove)

	huma.Register(api, op(huma.Operation{
		OperationID: "delete-video-pipeline", Method: http.MethodDelete, Path: "/api/videos/{videoId}/pipeline",
		Tags: []string{"videos"}, Summary: "Delete a video, at an address of its own",
		Description:   "The same as delete-video, for gateways that leave that address to the old server. " + gone,
		DefaultStatus: http.StatusNoContent,
	}, http.StatusNotFound, http.StatusUnprocessableEntity), s.remove)

	huma.Register(api, op(huma.Operation{
		OperationID: "health", Method: http.MethodGet, Path: healthPath, Summary: "Whether the API answers",
		Description: "Depends on nothing else.", Security: []map[string][]string{},
	}), func(context.Context, *struct{}) (*healthOutput, error) {
		return &healthOutput{Body: HealthAnswer{Success: true, Status: "ok"}}, nil
	})

	complete(api.OpenAPI())
	return api
}

type healthOutput struct{ Body HealthAnswer }

// HealthAnswer says that the API answers.
type HealthAnswer struct {
	Success bool   `json:"success" doc:"Always true."`
	Status  string `json:"status" enum:"ok"`
}

func problemResponse(status int, schema *huma.Schema) *huma.Response {
	response := &huma.Response{
		Description: http.StatusText(status),
		Content:     map[string]*huma.MediaType{problemContentType: {Schema: schema}},
	}
	header := func(name, description string) {
		response.Headers = map[string]*huma.Param{
			name: {Schema: &huma.Schema{Type: huma.TypeString}, Description: description},
		}
	}
	switch status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		header("Retry-After", "When to come back, in seconds.")
	case http.StatusUnauthorized:
		header("WWW-Authenticate", "What kind of token is asked for (RFC 6750).")
	}
	return response
}

// complete mends what huma's declarations cannot say.
func complete(doc *huma.OpenAPI) {
	// Our problem documents replace huma's own, which it declares whether they are used or not.
	schemas := doc.Components.Schemas.Map()
	delete(schemas, "ErrorModel")
	delete(schemas, "ErrorDetail")
	// Answers may grow new members, and requests may carry more than is read: no schema is closed.
	for _, schema := range schemas {
		schema.AdditionalProperties = nil
	}
	orNull(schemas["DeadLettersView"].Properties, "latest")
	completeCaptions(doc.Paths[captionsPath].Get)
	for _, path := range doc.Paths {
		for _, o := range []*huma.Operation{path.Get, path.Post, path.Put, path.Delete} {
			if o == nil {
				continue
			}
			delete(o.Responses, "default")
			for _, response := range o.Responses {
				if response.Headers == nil {
					response.Headers = map[string]*huma.Param{}
				}
				response.Headers[headerRequestID] = &huma.Param{
					Schema: &huma.Schema{Type: huma.TypeString}, Description: "Names the request in the log.",
				}
			}
		}
	}
	doc.Paths["/api/videos/{videoId}/transcription"].Put.RequestBody.Content = map[string]*huma.MediaType{
		"application/json": {Schema: transcriptionSchema(), Examples: transcriptionExamples()},
	}
}

// orNull declares that a member is null where there is no such object.
func orNull(members map[string]*huma.Schema, name string) {
	object := members[name]
	members[name] = &huma.Schema{
		Description: object.Description, AnyOf: []*huma.Schema{{Ref: object.Ref}, {Type: "null"}},
	}
}

// transcriptionSchema describes both accepted forms of a result for readers and generated clients.
func transcriptionSchema() *huma.Schema {
	zero := 0.0
	number := func(doc string) *huma.Schema {
		return &huma.Schema{Type: huma.TypeNumber, Minimum: &zero, Description: doc}
	}
	text := func(doc string) *huma.Schema { return &huma.Schema{Type: huma.TypeString, Description: doc} }
	words := &huma.Schema{Type: huma.TypeArray, Items: &huma.Schema{
		Type: huma.TypeObject, AdditionalProperties: true,
		Properties: map[string]*huma.Schema{
			"text": text("The word; word is accepted as well."), "word": text("The same as text."),
			"start": number("In seconds."), "end": number("In seconds."),
		},
	}}
	transcript := func() map[string]*huma.Schema {
		return map[string]*huma.Schema{
			"duration": number("Of the speech, in seconds."), "language": text("At most 35 bytes."), "words": words,
		}
	}
	nested := &huma.Schema{
		Title: "Nested", Description: "The canonical form.", Type: huma.TypeObject, AdditionalProperties: true,
		Required: []string{"transcription"},
		Properties: map[string]*huma.Schema{
			"video_id":      {Type: huma.TypeString, Format: "uuid", Description: "The path's id, or left out."},
			"transcription": {Type: huma.TypeObject, AdditionalProperties: true, Properties: transcript()},
		},
	}
	flat := &huma.Schema{
		Title: "Flat", Description: "The older form.", Type: huma.TypeObject, AdditionalProperties: true,
		Required: []string{"words"}, Properties: transcript(),
	}
	flat.Properties["videoId"] = &huma.Schema{Type: huma.TypeString, Format: "uuid", Description: "The path's id, or left out."}
	return &huma.Schema{AnyOf: []*huma.Schema{nested, flat}, Description: "Members that are not known here are stored as they are."}
}

func transcriptionExamples() map[string]*huma.Example {
	return map[string]*huma.Example{"nested": {Value: map[string]any{
		"transcription": map[string]any{
			"duration": 2.5, "language": "en",
			"words": []any{map[string]any{"text": "hello", "start": 0.0, "end": 0.5}},
		},
	}}}
}

// OpenAPI is the API's document, indented, as it is committed and served.
func OpenAPI() ([]byte, error) {
	s := &Starter{cfg: Config{}.withDefaults(), log: slog.New(slog.DiscardHandler)}
	return document(s.operations(chi.NewRouter()))
}

func document(api huma.API) ([]byte, error) {
	compact, err := json.Marshal(api.OpenAPI())
	if err != nil {
		return nil, fmt.Errorf("write the OpenAPI document: %w", err)
	}
	var v any // members in alphabetical order, so that the document does not change with the order of declarations
	if err := json.Unmarshal(compact, &v); err != nil {
		return nil, fmt.Errorf("write the OpenAPI document: %w", err)
	}
	out, err := json.MarshalIndent(v, "", "  ")
	return append(out, '\n'), err
}

func serveOpenAPI(api huma.API) http.HandlerFunc {
	doc, err := document(api)
	return func(w http.ResponseWriter, r *http.Request) {
		if err != nil {
			internalError(err).write(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/openapi+json")
		_, _ = w.Write(doc)
	}
}
