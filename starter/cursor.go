package starter

import (
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/codeendelea/vidflow/internal/contract"
	"github.com/codeendelea/vidflow/internal/postgres"
)

// cursorParam is the place in a list after which a page begins. Callers take it for opaque.
type cursorParam struct {
	place *postgres.Cursor // nil: the first page
}

// String is what UnmarshalText reads.
func (c cursorParam) String() string {
	at := c.place.CreatedAt.UTC().Format(time.RFC3339Nano)
	return base64.RawURLEncoding.EncodeToString([]byte(at + " " + c.place.ID.String()))
}

var errCursor = errors.New("is not a cursor of this list")

// UnmarshalText implements encoding.TextUnmarshaler, by which huma fills parameters.
func (c *cursorParam) UnmarshalText(text []byte) error {
	raw, err := base64.RawURLEncoding.DecodeString(string(text))
	if err != nil {
		return errCursor
	}
	at, id, ok := strings.Cut(string(raw), " ")
	if !ok {
		return errCursor
	}
	createdAt, err := time.Parse(time.RFC3339Nano, at)
	if err != nil {
		return errCursor
	}
	videoID, err := contract.ParseVideoID(id)
	if err != nil {
		return errCursor
	}
	c.place = &postgres.Cursor{CreatedAt: createdAt, ID: videoID}
	return nil
}

// Schema implements huma.SchemaProvider.
func (cursorParam) Schema(huma.Registry) *huma.Schema {
	limit := 256
	return &huma.Schema{Type: huma.TypeString, MaxLength: &limit}
}
