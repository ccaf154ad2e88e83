package storage

import (
	"encoding/json"
	"math"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Bucket as it is told to clients and kept on disk.
type Bucket struct {
	ID               string    `json:"id"`
	Name             string    `json:"name"`
	Owner            string    `json:"owner"`
	Public           bool      `json:"public"`
	FileSizeLimit    *int64    `json:"file_size_limit"`
	AllowedMimeTypes []string  `json:"allowed_mime_types"`
	CreatedAt        time.Time `json:"created_at"`
	UpdatedAt        time.Time `json:"updated_at"`
}

// limit is the largest object in bytes.
func (b Bucket) limit() int64 {
	if b.FileSizeLimit == nil {
		return math.MaxInt64 - 1
	}
	return *b.FileSizeLimit
}

// allows reports whether an object may be of that content type.
func (b Bucket) allows(contentType string) bool {
	if len(b.AllowedMimeTypes) == 0 {
		return true
	}
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return false
	}
	for _, allowed := range b.AllowedMimeTypes {
		family, isFamily := strings.CutSuffix(allowed, "/*")
		if allowed == kind || isFamily && strings.HasPrefix(kind, family+"/") {
			return true
		}
	}
	return false
}

// bucketRequest is a bucket to make or to change; members that are left out stay.
type bucketRequest struct {
	ID               string    `json:"id"`
	Name             string    `json:"name"`
	Public           *bool     `json:"public"`
	FileSizeLimit    *fileSize `json:"file_size_limit"`
	AllowedMimeTypes *[]string `json:"allowed_mime_types"`
}

func (q bucketRequest) apply(b *Bucket) {
	if q.Public != nil {
		b.Public = *q.Public
	}
	if q.FileSizeLimit != nil {
		b.FileSizeLimit = (*int64)(q.FileSizeLimit)
	}
	if q.AllowedMimeTypes != nil {
		b.AllowedMimeTypes = *q.AllowedMimeTypes
	}
}

// fileSize in bytes is told as a number or as "20MB".
type fileSize int64

// UnmarshalJSON accepts both forms.
func (f *fileSize) UnmarshalJSON(data []byte) error {
	s := strings.Trim(string(data), `"`)
	factor := int64(1)
	for _, unit := range []struct {
		suffix string
		bytes  int64
	}{{"GB", 1 << 30}, {"MB", 1 << 20}, {"KB", 1 << 10}, {"B", 1}} {
		if number, ok := strings.CutSuffix(strings.ToUpper(s), unit.suffix); ok {
			s, factor = number, unit.bytes
			break
		}
	}
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil {
		return &json.UnmarshalTypeError{Value: "file size"}
	}
	*f = fileSize(n * factor)
	return nil
}

func (s *Server) listBuckets(w http.ResponseWriter, r *http.Request) error {
	if err := s.auth.authenticate(r); err != nil {
		return err
	}
	list := []Bucket{}
	if s.auth.service(r, nil) == nil {
		list = s.disk.buckets()
	}
	writeJSON(w, http.StatusOK, list)
	return nil
}

func (s *Server) getBucket(w http.ResponseWriter, r *http.Request) error {
	if err := s.auth.service(r, errNoSuchBucket()); err != nil {
		return err
	}
	b, err := s.disk.bucket(r.PathValue("bucket"))
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, b)
	return nil
}

func (s *Server) createBucket(w http.ResponseWriter, r *http.Request) error {
	if err := s.auth.service(r, errRowSecurity()); err != nil {
		return err
	}
	var q bucketRequest
	if err := readJSON(r, &q); err != nil {
		return err
	}
	if q.Name == "" {
		return errSchema("body must have required property 'name'")
	}
	if q.ID == "" {
		q.ID = q.Name
	}
	b := Bucket{ID: q.ID, Name: q.Name}
	q.apply(&b)
	if err := s.disk.createBucket(b); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]string{"name": b.Name})
	return nil
}

func (s *Server) updateBucket(w http.ResponseWriter, r *http.Request) error {
	if err := s.auth.service(r, errNoSuchBucket()); err != nil {
		return err
	}
	var q bucketRequest
	if err := readJSON(r, &q); err != nil {
		return err
	}
	if err := s.disk.updateBucket(r.PathValue("bucket"), q.apply); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]string{"message": "Successfully updated"})
	return nil
}

func (s *Server) deleteBucket(w http.ResponseWriter, r *http.Request) error {
	if err := s.auth.service(r, errNoSuchBucket()); err != nil {
		return err
	}
	if err := s.disk.deleteBucket(r.PathValue("bucket")); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]string{"message": "Successfully deleted"})
	return nil
}

func (s *Server) emptyBucket(w http.ResponseWriter, r *http.Request) error {
	if err := s.auth.service(r, errNoSuchBucket()); err != nil {
		return err
	}
	if err := s.disk.emptyBucket(r.PathValue("bucket")); err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, map[string]string{"message": "Successfully emptied"})
	return nil
}
