package storage

import (
	"crypto/md5"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
)

// disk keeps buckets and objects:
//
//	{dir}/{bucket}/bucket.json              the bucket
//	{dir}/{bucket}/objects/{escaped path}   an object's bytes, as they were uploaded
//	{dir}/{bucket}/meta/{escaped path}      its metadata
//
// Files are replaced by renaming, so that a kill leaves the old one or the new one. Both kinds of name are escaped as in
// a URL, with slashes too, so that no path leads out of the folder and none is in the way of another.
type disk struct {
	dir string

	mu   sync.RWMutex // the files, and:
	byID map[string]Bucket
}

// object is what is stored at a path.
type object struct {
	ID           string
	ContentType  string
	CacheControl string
	CreatedAt    time.Time
	UpdatedAt    time.Time
	Data         []byte `json:"-"`
}

// etag is a hash of the bytes.
func (o object) etag() string { return fmt.Sprintf("%q", fmt.Sprintf("%x", md5.Sum(o.Data))) }

// objectInfo is an object in a list.
type objectInfo struct {
	Name      string         `json:"name"`
	BucketID  string         `json:"bucket_id"`
	ID        string         `json:"id"`
	CreatedAt time.Time      `json:"created_at"`
	UpdatedAt time.Time      `json:"updated_at"`
	Metadata  map[string]any `json:"metadata"`
}

func (o object) info(bucket, path string) objectInfo {
	return objectInfo{
		Name: path, BucketID: bucket, ID: o.ID, CreatedAt: o.CreatedAt, UpdatedAt: o.UpdatedAt,
		Metadata: map[string]any{
			"size": len(o.Data), "contentLength": len(o.Data), "mimetype": o.ContentType, "cacheControl": o.CacheControl,
			"eTag": o.etag(), "lastModified": o.UpdatedAt, "httpStatusCode": 200,
		},
	}
}

// unfinished is where files are written before they are renamed; what a kill leaves there goes at the next start.
func (d *disk) unfinished() string { return filepath.Join(d.dir, ".unfinished") }

func openDisk(dir string) (*disk, error) {
	d := &disk{dir: dir, byID: map[string]Bucket{}}
	if err := os.RemoveAll(d.unfinished()); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(d.unfinished(), 0o755); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name(), "bucket.json"))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var b Bucket
		if err == nil {
			err = json.Unmarshal(data, &b)
		}
		if err != nil {
			return nil, fmt.Errorf("bucket %s: %w", e.Name(), err)
		}
		d.byID[b.ID] = b
	}
	return d, nil
}

var (
	bucketName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$`)
	keyChars   = regexp.MustCompile(`^[\w/!\-.*'() &$@=;:+,?]+$`)
)

// validKey is storage's own rule, with an end to the length that a file's name can have.
func validKey(key string) bool { return keyChars.MatchString(key) && len(fileName(key)) <= 255 }

// fileName is a path as the name of one file.
func fileName(path string) string { return "o_" + url.PathEscape(path) }

func (d *disk) objectFile(bucket, path string) string {
	return filepath.Join(d.dir, bucket, "objects", fileName(path))
}

func (d *disk) metaFile(bucket, path string) string {
	return filepath.Join(d.dir, bucket, "meta", fileName(path))
}

func (d *disk) bucket(id string) (Bucket, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.find(id)
}

func (d *disk) find(id string) (Bucket, error) {
	b, ok := d.byID[id]
	if !ok {
		return Bucket{}, errNoSuchBucket()
	}
	return b, nil
}

func (d *disk) buckets() []Bucket {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return slices.SortedFunc(maps.Values(d.byID), func(a, b Bucket) int { return strings.Compare(a.ID, b.ID) })
}

func (d *disk) createBucket(b Bucket) error {
	if !bucketName.MatchString(b.ID) {
		return errBucketName()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.find(b.ID); err == nil {
		return errDuplicate
	}
	b.CreatedAt = time.Now().UTC()
	for _, sub := range []string{"objects", "meta"} {
		if err := os.MkdirAll(filepath.Join(d.dir, b.ID, sub), 0o755); err != nil {
			return err
		}
	}
	return d.keepBucket(b)
}

// keepBucket is called with the lock.
func (d *disk) keepBucket(b Bucket) error {
	b.UpdatedAt = time.Now().UTC()
	data, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return err
	}
	if err := d.replaceFile(filepath.Join(d.dir, b.ID, "bucket.json"), data); err != nil {
		return err
	}
	d.byID[b.ID] = b
	return nil
}

func (d *disk) updateBucket(id string, change func(*Bucket)) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	b, err := d.find(id)
	if err != nil {
		return err
	}
	change(&b)
	return d.keepBucket(b)
}

func (d *disk) deleteBucket(id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.find(id); err != nil {
		return err
	}
	entries, err := os.ReadDir(filepath.Join(d.dir, id, "meta"))
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		return errBucketNotEmpty()
	}
	delete(d.byID, id)
	return os.RemoveAll(filepath.Join(d.dir, id))
}

func (d *disk) emptyBucket(id string) error {
	list, err := d.list(id, "")
	if err != nil {
		return err
	}
	for _, o := range list {
		if _, err := d.remove(id, o.Name); err != nil && !errors.Is(err, errNoSuchKey()) {
			return err
		}
	}
	return nil
}

// put stores an object and returns its id. It calls stored while it still has the lock, so that calls come in the order
// in which objects replaced each other.
func (d *disk) put(bucket, path string, o object, replace bool, stored func()) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.find(bucket); err != nil {
		return "", err
	}
	old, err := d.readMeta(bucket, path)
	switch {
	case err == nil && !replace:
		return "", errKeyExists()
	case err == nil:
		o.ID, o.CreatedAt = old.ID, old.CreatedAt
	case errors.Is(err, errNoSuchKey()):
		o.ID, o.CreatedAt = uuid.NewString(), time.Now().UTC()
	default:
		return "", err
	}
	o.UpdatedAt = time.Now().UTC()
	if o.CacheControl == "" {
		o.CacheControl = "no-cache"
	}
	meta, err := json.Marshal(o)
	if err != nil {
		return "", err
	}
	if err := d.replaceFile(d.objectFile(bucket, path), o.Data); err != nil {
		return "", err
	}
	if err := d.replaceFile(d.metaFile(bucket, path), meta); err != nil {
		return "", err
	}
	stored()
	return o.ID, nil
}

func (d *disk) get(bucket, path string) (object, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.read(bucket, path)
}

func (d *disk) read(bucket, path string) (object, error) {
	o, err := d.readMeta(bucket, path)
	if err != nil {
		return object{}, err
	}
	o.Data, err = os.ReadFile(d.objectFile(bucket, path))
	return o, err
}

func (d *disk) readMeta(bucket, path string) (object, error) {
	if _, err := d.find(bucket); err != nil || !validKey(path) {
		return object{}, errNoSuchKey()
	}
	data, err := os.ReadFile(d.metaFile(bucket, path))
	if errors.Is(err, fs.ErrNotExist) {
		return object{}, errNoSuchKey()
	}
	if err != nil {
		return object{}, err
	}
	var o object
	return o, json.Unmarshal(data, &o)
}

// remove removes an object and says what it was.
func (d *disk) remove(bucket, path string) (objectInfo, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	o, err := d.read(bucket, path)
	if err != nil {
		return objectInfo{}, err
	}
	if err := os.Remove(d.metaFile(bucket, path)); err != nil {
		return objectInfo{}, err
	}
	return o.info(bucket, path), os.Remove(d.objectFile(bucket, path))
}

// list names the objects whose path begins with prefix, in order.
func (d *disk) list(bucket, prefix string) ([]objectInfo, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if _, err := d.find(bucket); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(filepath.Join(d.dir, bucket, "meta"))
	if err != nil {
		return nil, err
	}
	list := []objectInfo{}
	for _, e := range entries {
		escaped, ok := strings.CutPrefix(e.Name(), "o_")
		path, err := url.PathUnescape(escaped)
		if !ok || err != nil || !strings.HasPrefix(path, prefix) {
			continue
		}
		o, err := d.read(bucket, path)
		if err != nil {
			return nil, err
		}
		list = append(list, o.info(bucket, path))
	}
	slices.SortFunc(list, func(a, b objectInfo) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// replaceFile writes a file that is there whole or as it was before.
func (d *disk) replaceFile(name string, data []byte) error {
	f, err := os.CreateTemp(d.unfinished(), "")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
