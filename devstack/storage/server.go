package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strings"
	"time"
)

// DefaultFileSizeLimit is that of a new Supabase project.
const DefaultFileSizeLimit = 50 << 20

// Config of a stand-in.
type Config struct {
	// Dir is where files are kept; it is made when it is not there. One Server at a time.
	Dir string
	// JWTSecret verifies keys of the older kind, which are JWTs; none is accepted when empty.
	JWTSecret string
	// SecretKeys are the accepted keys of the newer kind, sb_secret_….
	SecretKeys []string
	// PublicBuckets are made at the start where they are not there.
	PublicBuckets []string
	// FileSizeLimit is the size in bytes past which an upload is refused; DefaultFileSizeLimit when zero. A bucket's
	// own limit, if smaller, counts.
	FileSizeLimit int64
	// Log gets a line an upload and removal; nothing when nil.
	Log *slog.Logger
}

// Server is the stand-in. Its handlers are safe for concurrent use.
type Server struct {
	disk    *disk
	auth    authenticator
	faults  *faults
	uploads *uploadLog
	limit   int64
	log     *slog.Logger
	stop    context.CancelFunc // ends the uploads that are held
	closed  context.Context
}

// New opens or makes the folder.
func New(cfg Config) (*Server, error) {
	d, err := openDisk(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("open storage in %s: %w", cfg.Dir, err)
	}
	for _, name := range cfg.PublicBuckets {
		err := d.createBucket(Bucket{ID: name, Name: name, Public: true})
		if err != nil && !errors.Is(err, errDuplicate) {
			return nil, fmt.Errorf("create bucket %s: %w", name, err)
		}
	}
	if cfg.FileSizeLimit == 0 {
		cfg.FileSizeLimit = DefaultFileSizeLimit
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		disk: d, auth: authenticator{secret: []byte(cfg.JWTSecret), keys: cfg.SecretKeys},
		limit: cfg.FileSizeLimit, log: cfg.Log,
	}
	s.closed, s.stop = context.WithCancel(context.Background())
	s.faults = newFaults()
	s.uploads = newUploadLog()
	return s, nil
}

// Close ends the uploads that are held or slow; they do not land. Shut the HTTP servers down after it.
func (s *Server) Close() { s.stop() }

// Handler serves the protocol under /storage/v1.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, op Op, h func(http.ResponseWriter, *http.Request) error) {
		method, path, _ := strings.Cut(pattern, " ")
		mux.HandleFunc(method+" /storage/v1"+path, func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, op, h) })
	}
	handle("GET /status", OpOther, s.status)
	handle("GET /bucket", OpBucket, s.listBuckets)
	handle("POST /bucket", OpBucket, s.createBucket)
	handle("GET /bucket/{bucket}", OpBucket, s.getBucket)
	handle("PUT /bucket/{bucket}", OpBucket, s.updateBucket)
	handle("DELETE /bucket/{bucket}", OpBucket, s.deleteBucket)
	handle("POST /bucket/{bucket}/empty", OpBucket, s.emptyBucket)

	handle("POST /object/{bucket}/{path...}", OpUpload, s.upload)
	handle("PUT /object/{bucket}/{path...}", OpUpload, s.upload)
	handle("DELETE /object/{bucket}/{path...}", OpDelete, s.deleteObject)
	handle("DELETE /object/{bucket}", OpDelete, s.deleteObjects)
	handle("POST /object/list/{bucket}", OpOther, s.listObjects)
	handle("GET /object/{bucket}/{path...}", OpRead, s.getObject)
	handle("GET /object/authenticated/{bucket}/{path...}", OpRead, s.getObject)
	handle("GET /object/public/{bucket}/{path...}", OpRead, s.getPublicObject)

	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, http.StatusNotFound, map[string]any{
			"message": fmt.Sprintf("Route %s:%s not found", r.Method, strings.TrimPrefix(r.URL.Path, "/storage/v1")), "error": "Not Found", "statusCode": 404,
		})
	})
	return cors(mux)
}

// serve runs a handler, behind the faults that are ordered for its operation, and writes its error as storage does.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, op Op, h func(http.ResponseWriter, *http.Request) error) {
	if op != OpUpload { // uploads have theirs after the body was read
		if f := s.faults.take(op, r.PathValue("path")); f != nil {
			switch f.Kind {
			case Slow:
				if !s.wait(time.Duration(f.Delay)) {
					panic(http.ErrAbortHandler)
				}
			case Half:
				w = halfWriter{w}
			default:
				s.answerFault(w, *f)
				return
			}
		}
	}
	err := h(w, r)
	if err == nil {
		return
	}
	var e *apiError
	if !errors.As(err, &e) {
		s.log.Error("storage failed", "error", err)
		e = errInternal()
	}
	e.write(w)
}

// cors is what the gateway in front of the real one answers to browsers.
func cors(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Access-Control-Expose-Headers", "Content-Range, Content-Length, ETag, Location")
		if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
			h.Set("Access-Control-Allow-Methods", "GET,HEAD,PUT,PATCH,POST,DELETE,OPTIONS")
			if want := r.Header.Get("Access-Control-Request-Headers"); want != "" {
				h.Set("Access-Control-Allow-Headers", want)
			}
			h.Set("Access-Control-Max-Age", "3600")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) status(w http.ResponseWriter, _ *http.Request) error {
	w.WriteHeader(http.StatusOK)
	return nil
}

func (s *Server) upload(w http.ResponseWriter, r *http.Request) error {
	if err := s.auth.service(r, errRowSecurity()); err != nil {
		return err
	}
	bucket, path := r.PathValue("bucket"), r.PathValue("path")
	b, err := s.disk.bucket(bucket)
	if err != nil {
		return err
	}
	if !validKey(path) {
		return errInvalidKey(path)
	}
	body, contentType, err := readUpload(r, min(s.limit, b.limit()))
	if err != nil {
		return err
	}
	if !b.allows(contentType) {
		return errMimeType(contentType)
	}
	u := pending{
		entry: s.uploads.received(bucket, path, body), bucket: bucket, path: path,
		object:  object{ContentType: contentType, CacheControl: r.Header.Get("Cache-Control"), Data: body},
		replace: r.Method == http.MethodPut || r.Header.Get("X-Upsert") == "true",
	}
	if f := s.faults.take(OpUpload, path); f != nil {
		return s.failUpload(w, *f, u)
	}
	return s.land(w, u)
}

// pending is an upload that is read and has not landed.
type pending struct {
	entry        *Upload
	bucket, path string
	object       object
	replace      bool
}

// land stores an upload and answers it; with w nil it only stores. It asks nothing of the client's connection.
func (s *Server) land(w http.ResponseWriter, u pending) error {
	id, err := s.disk.put(u.bucket, u.path, u.object, u.replace, func() { s.uploads.landed(u.entry) })
	if err != nil {
		s.uploads.refused(u.entry)
		return err
	}
	s.log.Info("storage upload", "path", u.bucket+"/"+u.path, "bytes", len(u.object.Data))
	if w != nil {
		writeJSON(w, http.StatusOK, map[string]string{"Key": u.bucket + "/" + u.path, "Id": id})
	}
	return nil
}

func (s *Server) deleteObject(w http.ResponseWriter, r *http.Request) error {
	if err := s.auth.service(r, errNoSuchKey()); err != nil {
		return err
	}
	if _, err := s.disk.remove(r.PathValue("bucket"), r.PathValue("path")); err != nil {
		return err
	}
	s.log.Info("storage removal", "path", r.PathValue("bucket")+"/"+r.PathValue("path"))
	writeJSON(w, http.StatusOK, map[string]string{"message": "Successfully deleted"})
	return nil
}

// deleteObjects removes what is there of a list, and answers with that; a missing bucket has nothing.
func (s *Server) deleteObjects(w http.ResponseWriter, r *http.Request) error {
	if err := s.auth.authenticate(r); err != nil {
		return err
	}
	var body struct{ Prefixes []string }
	if err := readJSON(r, &body); err != nil {
		return err
	}
	if len(body.Prefixes) == 0 {
		return errSchema("body must have required property 'prefixes'")
	}
	removed := []objectInfo{}
	if s.auth.service(r, nil) == nil {
		for _, path := range body.Prefixes {
			info, err := s.disk.remove(r.PathValue("bucket"), path)
			if err == nil {
				removed = append(removed, info)
				s.log.Info("storage removal", "path", r.PathValue("bucket")+"/"+path)
			}
		}
	}
	writeJSON(w, http.StatusOK, removed)
	return nil
}

func (s *Server) listObjects(w http.ResponseWriter, r *http.Request) error {
	if err := s.auth.authenticate(r); err != nil {
		return err
	}
	var body struct {
		Prefix        string
		Limit, Offset int
	}
	if err := readJSON(r, &body); err != nil {
		return err
	}
	list := []objectInfo{}
	if s.auth.service(r, nil) == nil {
		var err error
		if list, err = s.disk.list(r.PathValue("bucket"), body.Prefix); err != nil {
			return err
		}
	}
	if body.Limit <= 0 {
		body.Limit = 100
	}
	list = list[min(max(body.Offset, 0), len(list)):]
	writeJSON(w, http.StatusOK, list[:min(body.Limit, len(list))])
	return nil
}

func (s *Server) getObject(w http.ResponseWriter, r *http.Request) error {
	if err := s.auth.service(r, errNoSuchKey()); err != nil {
		return err
	}
	return s.send(w, r)
}

func (s *Server) getPublicObject(w http.ResponseWriter, r *http.Request) error {
	b, err := s.disk.bucket(r.PathValue("bucket"))
	if err != nil {
		return err
	}
	if !b.Public {
		return errNoSuchBucket()
	}
	return s.send(w, r)
}

func (s *Server) send(w http.ResponseWriter, r *http.Request) error {
	if _, err := s.disk.bucket(r.PathValue("bucket")); err != nil {
		return err
	}
	o, err := s.disk.get(r.PathValue("bucket"), r.PathValue("path"))
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", o.ContentType)
	h.Set("Cache-Control", o.CacheControl)
	h.Set("ETag", o.etag())
	http.ServeContent(w, r, "", o.UpdatedAt.Truncate(time.Second), strings.NewReader(string(o.Data)))
	return nil
}

// readUpload reads the object that is uploaded, in a request of its own or in a form, as browsers send it.
func readUpload(r *http.Request, limit int64) (body []byte, contentType string, err error) {
	kind, params, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	var from io.Reader = r.Body
	header := textproto.MIMEHeader(r.Header)
	if kind == "multipart/form-data" {
		form := multipart.NewReader(r.Body, params["boundary"])
		for {
			part, err := form.NextPart()
			if err != nil {
				return nil, "", errSchema("no file in the form")
			}
			if part.FileName() != "" || part.FormName() == "" {
				from, header = part, part.Header
				break
			}
		}
	}
	body, err = io.ReadAll(io.LimitReader(from, limit+1))
	if err != nil {
		return nil, "", errAborted() // the client's connection was cut
	}
	if int64(len(body)) > limit {
		_, _ = io.Copy(io.Discard, io.LimitReader(from, 64<<20)) // so that the client reads the answer
		return nil, "", errTooLarge()
	}
	contentType = header.Get("Content-Type")
	if contentType == "" {
		contentType = "application/octet-stream"
	}
	return body, contentType, nil
}
