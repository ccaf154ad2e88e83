package config

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/net/http/httpguts"
)

// value reads one variable into the field of a Config.
type value struct {
	// want says what would be right, to stand behind "want".
	want string
	// set reads a text that is not empty. Its error adds to want what is not plain from it, and may be unspecific
	// (errUnspecific); it never quotes the text.
	set func(text string) error
	// words are all that there is to choose from; none where there is more than a few words.
	words []string
}

var errUnspecific = errors.New("not what is wanted")

// text takes anything.
func text(p *string, want string) value {
	return value{want: want, set: func(s string) error { *p = s; return nil }}
}

// versionBytes is the longest name or build id of a deployment that every server takes.
const versionBytes = 255

// deploymentName takes what Temporal takes.
func deploymentName(p *string) value {
	return value{want: "a name of at most 255 bytes without . and :", set: func(s string) error {
		if strings.ContainsAny(s, ".:") {
			return errUnspecific
		}
		return buildID(p).set(s)
	}}
}

// buildID takes what Temporal takes.
func buildID(p *string) value {
	return value{want: "an id of at most 255 bytes", set: func(s string) error {
		if len(s) > versionBytes {
			return errUnspecific
		}
		if strings.HasPrefix(s, "__") {
			return errors.New("names that begin with __ are Temporal's own")
		}
		*p = s
		return nil
	}}
}

// secret takes anything and hides it.
func secret(p *Secret, want string) value {
	return value{want: want, set: func(s string) error { *p = NewSecret(s); return nil }}
}

func boolean(p *bool) value {
	return value{want: "true or false", set: func(s string) (err error) {
		switch strings.ToLower(s) {
		case "true", "1":
			*p = true
		case "false", "0":
			*p = false
		default:
			return errUnspecific
		}
		return nil
	}, words: []string{"true", "false"}}
}

func integer(p *int, low, high int) value {
	return value{want: fmt.Sprintf("a whole number from %d to %d", low, high), set: func(s string) error {
		n, err := strconv.Atoi(s)
		if err != nil || n < low || n > high {
			return errUnspecific
		}
		*p = n
		return nil
	}}
}

// milliseconds takes plain milliseconds, as KafkaJS had them, or a Go duration.
func milliseconds(p *time.Duration) value {
	return value{want: "milliseconds such as 10000, or a duration such as 10s, above 0", set: func(s string) error {
		if ms, err := strconv.ParseUint(s, 10, 32); err == nil {
			s = strconv.FormatUint(ms, 10) + "ms"
		}
		return duration(p).set(s)
	}}
}

func duration(p *time.Duration) value {
	return value{want: "a duration such as 30s, 10m or 6h, above 0", set: func(s string) error {
		d, err := time.ParseDuration(s)
		if err != nil || d <= 0 {
			return errUnspecific
		}
		*p = d
		return nil
	}}
}

func oneOf(p *string, words ...string) value {
	last := len(words) - 1
	return value{want: strings.Join(words[:last], ", ") + " or " + words[last], set: func(s string) error {
		s = strings.ToLower(s)
		if !slices.Contains(words, s) {
			return errUnspecific
		}
		*p = s
		return nil
	}, words: words}
}

func logLevel(p *slog.Level) value {
	var word string
	v := oneOf(&word, "debug", "info", "warn", "error")
	return value{want: v.want, set: func(s string) error {
		if err := v.set(s); err != nil {
			return err
		}
		return p.UnmarshalText([]byte(word))
	}, words: v.words}
}

// hostPorts takes a list of addresses, separated by commas.
func hostPorts(p *[]string) value {
	return value{want: "host:port, or several separated by commas", set: func(s string) error {
		var list []string
		for _, addr := range splitList(s) {
			host, port, err := net.SplitHostPort(addr)
			if err != nil || host == "" || !validPort(port) {
				return errUnspecific
			}
			list = append(list, addr)
		}
		if len(list) == 0 {
			return errUnspecific
		}
		*p = list
		return nil
	}}
}

// listenAddr takes an address to listen at; no host means every interface.
func listenAddr(p *string) value {
	return value{want: "an address to listen at, such as 127.0.0.1:9101 or :9101", set: func(s string) error {
		if _, port, err := net.SplitHostPort(s); err != nil || !validPort(port) {
			return errUnspecific
		}
		*p = s
		return nil
	}}
}

func validPort(s string) bool {
	_, err := strconv.ParseUint(s, 10, 16)
	return err == nil
}

// origins takes a list of origins as browsers send them, or "*" for every one.
func origins(p *[]string) value {
	return value{want: "origins such as https://app.example.com separated by commas, or *", set: func(s string) error {
		var list []string
		for _, o := range splitList(s) {
			if o == "*" {
				list = append(list, o)
				continue
			}
			u, err := httpURL(strings.TrimSuffix(o, "/"))
			if err != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
				return errUnspecific
			}
			list = append(list, u.Scheme+"://"+u.Host)
		}
		*p = list
		return nil
	}}
}

// baseURL takes an http(s) URL, to which paths are added, and drops the slash at its end.
func baseURL(p *string, example string) value {
	return value{want: "an http or https URL such as " + example, set: func(s string) error {
		u, err := httpURL(s)
		if err != nil {
			return err
		}
		if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			return errors.New("a user, a query or a fragment does not belong there")
		}
		*p = strings.TrimRight(s, "/")
		return nil
	}}
}

// keySetURL takes the URL of a key set. The issuer that its tokens must name is the part before /.well-known/.
func keySetURL(p *string) value {
	v := baseURL(p, "https://project.supabase.co/auth/v1/.well-known/jwks.json")
	return value{want: v.want, set: func(s string) error {
		if err := v.set(s); err != nil {
			return err
		}
		if !strings.Contains(s, "/.well-known/") {
			return errors.New("there is no /.well-known/ in it")
		}
		return nil
	}}
}

func httpURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errUnspecific
	}
	return u, nil
}

// postgresURL takes a connection URL, password included, and so hides all of it.
func postgresURL(p *Secret) value {
	return value{
		want: "postgres://user:password@host:5432/database, signs such as @ : / # percent-encoded in the password",
		set: func(s string) error {
			s = strings.TrimSpace(s)
			u, err := url.Parse(s)
			if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" || u.Host == "" {
				return errUnspecific
			}
			if _, err := pgconn.ParseConfig(s); err != nil {
				return errors.New("the driver refuses it; look at the parameters after the question mark") // its error quotes
			}
			*p = NewSecret(s)
			return nil
		},
	}
}

// serviceKey takes a key of Supabase that may do everything. The keys that are handed to browsers look alike and would
// fail at the first upload, so they are refused here.
func serviceKey(p *Secret) value {
	return value{want: "a service_role key (eyJ…) or a secret key (sb_secret_…)", set: func(s string) error {
		s = strings.TrimSpace(s)
		if strings.HasPrefix(s, "sb_publishable_") {
			return errors.New("this is the publishable key")
		}
		if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return errors.New("it has characters that no key has, such as blanks or line breaks")
		}
		if role := roleOfKey(s); role != "" && role != "service_role" {
			return fmt.Errorf("this is the key of role %q", role)
		}
		*p = NewSecret(s)
		return nil
	}}
}

// roleOfKey reads the role of a legacy key, a JWT; "" when there is none to read.
func roleOfKey(key string) string {
	parts := strings.Split(key, ".")
	if len(parts) != 3 {
		return ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	var claims struct {
		Role string `json:"role"`
	}
	if json.Unmarshal(payload, &claims) != nil || len(claims.Role) > 32 {
		return ""
	}
	return claims.Role
}

// pemFile takes the path of a file with at least one PEM block.
func pemFile(p *string) value {
	return value{want: "the path of a readable PEM file", set: func(s string) error {
		data, err := os.ReadFile(s)
		if err != nil {
			var path *os.PathError
			if errors.As(err, &path) {
				err = path.Err
			}
			return err
		}
		if block, _ := pem.Decode(data); block == nil {
			return errors.New("the file has no PEM block")
		}
		*p = s
		return nil
	}}
}

// prefixes takes a list of networks in CIDR notation.
func prefixes(p *[]string) value {
	return value{want: "networks such as 10.0.0.0/8, separated by commas", set: func(s string) error {
		var list []string
		for _, item := range splitList(s) {
			prefix, err := netip.ParsePrefix(item)
			if err != nil {
				return errUnspecific
			}
			list = append(list, prefix.String())
		}
		*p = list
		return nil
	}}
}

func splitList(s string) []string {
	var list []string
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item != "" {
			list = append(list, item)
		}
	}
	return list
}

const wantPairs = "name=value, separated by commas, values percent-encoded"

// pairs takes a list as OpenTelemetry writes them.
func pairs(p *map[string]string) value {
	return value{want: wantPairs, set: func(s string) error {
		list := make(map[string]string)
		for _, item := range splitList(s) {
			name, text, ok := strings.Cut(item, "=")
			name = strings.TrimSpace(name)
			text, err := url.PathUnescape(strings.TrimSpace(text))
			if !ok || name == "" || err != nil {
				return errUnspecific
			}
			list[name] = text
		}
		*p = list
		return nil
	}}
}

// secretPairs takes headers and hides what they say.
func secretPairs(p *map[string]Secret) value {
	return value{want: wantPairs, set: func(s string) error {
		var shown map[string]string
		if err := pairs(&shown).set(s); err != nil {
			return err
		}
		hidden := make(map[string]Secret, len(shown))
		for name, text := range shown {
			if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(text) {
				return errUnspecific
			}
			hidden[name] = NewSecret(text)
		}
		*p = hidden
		return nil
	}}
}

// ratio takes a part of the whole.
func ratio(p *float64) value {
	return value{want: "a number from 0 to 1", set: func(s string) error {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil || !(f >= 0 && f <= 1) {
			return errUnspecific
		}
		*p = f
		return nil
	}}
}

// topic takes a name that Kafka allows.
func topic(p *string) value {
	return value{want: "the name of a topic: letters, digits, dots, underscores and hyphens", set: func(s string) error {
		if len(s) > 249 || s == "." || s == ".." || !topicName.MatchString(s) {
			return errUnspecific
		}
		*p = s
		return nil
	}}
}

var topicName = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)
