package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// SetupError is something that can never work until a person mends it: a refused login, a certificate that is not
// trusted, a missing topic or permission. Every other error of this package means that Kafka is away for now, and is
// worth another try.
type SetupError struct {
	// Reason is a sentence that names what is wrong and how to mend it.
	Reason string
	// Err is what the broker or the library said; may be nil.
	Err error
}

// Error implements error.
func (e *SetupError) Error() string {
	if e.Err == nil {
		return e.Reason
	}
	return fmt.Sprintf("%s: %v", e.Reason, e.Err)
}

// Unwrap implements errors.Unwrap.
func (e *SetupError) Unwrap() error { return e.Err }

func setupError(reason string, err error) error { return &SetupError{Reason: reason, Err: err} }

// ErrGone says that a record can no longer be had, for ever: retention or compaction took it, its topic was deleted or
// made anew, or another record is at its offset.
var ErrGone = errors.New("the record is gone")

// ErrTooLarge says that a record is larger than the broker, the topic or the client accepts; no retry helps.
var ErrTooLarge = errors.New("the record is too large")

// classify turns an error that a retry cannot mend into a SetupError and returns every other one as it is.
func classify(err error) error {
	if err == nil {
		return nil
	}
	var (
		setup    *SetupError
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
		verify   *tls.CertificateVerificationError
		notTLS   tls.RecordHeaderError
		alert    tls.AlertError
	)
	switch {
	case errors.As(err, &setup):
		return err
	case errors.Is(err, kerr.SaslAuthenticationFailed):
		return setupError("the Kafka login was refused; check KAFKA_USERNAME, KAFKA_PASSWORD and KAFKA_SASL_MECHANISM", err)
	case errors.Is(err, kerr.UnsupportedSaslMechanism):
		return setupError("the Kafka broker does not offer the mechanism of KAFKA_SASL_MECHANISM", err)
	case errors.Is(err, kerr.IllegalSaslState):
		return setupError("the Kafka broker wants no login, or another kind; check KAFKA_USERNAME and KAFKA_SASL_MECHANISM", err)
	case errors.As(err, &unknown):
		return setupError("the Kafka broker's certificate is not trusted; set KAFKA_SSL_CA_FILE to the bundle that signed it", err)
	case errors.As(err, &hostname):
		return setupError("the Kafka broker's certificate is for another name than the one in KAFKA_BROKERS", err)
	case errors.As(err, &invalid), errors.As(err, &verify):
		return setupError("the Kafka broker's certificate is not valid", err)
	case errors.As(err, &notTLS):
		return setupError("the Kafka broker does not speak TLS at this address; set KAFKA_SSL=false or take its TLS port", err)
	case errors.As(err, &alert):
		return setupError("the Kafka broker refused the TLS handshake", err)
	case errors.Is(err, kerr.TopicAuthorizationFailed):
		return setupError("the Kafka login has no permission for the topic", err)
	case errors.Is(err, kerr.GroupAuthorizationFailed):
		return setupError("the Kafka login has no permission for the consumer group", err)
	case errors.Is(err, kerr.ClusterAuthorizationFailed), errors.Is(err, kerr.TransactionalIDAuthorizationFailed):
		return setupError("the Kafka login has no permission on the cluster", err)
	default:
		return err
	}
}

// hungUp says what it may mean that a broker hung up at once: Apache Kafka does so to those who take it for another kind
// of listener, and so does any broker that is being stopped, so that it is not taken for certain.
func hungUp(err error) error {
	if _, ok := errors.AsType[*kgo.ErrFirstReadEOF](err); !ok {
		return err
	}
	return fmt.Errorf("the broker hung up at once; unless it is just being stopped, KAFKA_SSL is true where it speaks no TLS, "+
		"or KAFKA_USERNAME is not set where it wants a login: %w", err)
}

// IsSetup reports whether err is, or wraps, a SetupError.
func IsSetup(err error) bool {
	_, ok := errors.AsType[*SetupError](err)
	return ok
}
