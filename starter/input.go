package starter

import (
	"errors"
	"net/url"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/codeendelea/vidflow/internal/contract"
)

// videoIDParam is the path parameter of operations on one video: a UUID, brought to its canonical form. It is a struct
// because huma fills parameters of simple kinds without asking UnmarshalText.
type videoIDParam struct{ id contract.VideoID }

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *videoIDParam) UnmarshalText(text []byte) (err error) {
	p.id, err = parseID(text)
	return err
}

// Schema implements huma.SchemaProvider.
func (videoIDParam) Schema(huma.Registry) *huma.Schema { return uuidSchema() }

// courseIDParam is the path parameter of operations on one course: a UUID, brought to the same form as a video's.
type courseIDParam struct{ id string }

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *courseIDParam) UnmarshalText(text []byte) error {
	id, err := parseID(text)
	p.id = id.String()
	return err
}

// Schema implements huma.SchemaProvider.
func (courseIDParam) Schema(huma.Registry) *huma.Schema { return uuidSchema() }

func parseID(text []byte) (contract.VideoID, error) {
	id, err := contract.ParseVideoID(string(text))
	if err != nil {
		return "", errors.New("is not a UUID of 36 characters")
	}
	return id, nil
}

func uuidSchema() *huma.Schema { return &huma.Schema{Type: huma.TypeString, Format: "uuid"} }

func wrong(location, message string) []error {
	return []error{&huma.ErrorDetail{Location: location, Message: message}}
}

// checkText refuses what Postgres cannot keep in a text.
func checkText(location, text string) []error {
	if strings.ContainsRune(text, 0) {
		return wrong(location, "must not contain the character U+0000")
	}
	return nil
}

// checkURL refuses everything but an absolute http(s) URL with a host.
func checkURL(location, address string) []error {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" || (u.Scheme != "http" && u.Scheme != "https") || strings.ContainsAny(address, " \t\r\n\x00") {
		return wrong(location, "is not an http(s) URL")
	}
	return nil
}
