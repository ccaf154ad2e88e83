package config

import (
	"cmp"
	"crypto/tls"
	"strings"
	"sync"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
)

// temporalPrefix begins the names of all variables that the SDK reads, also of those that are not in the table:
// TEMPORAL_GRPC_META_*.
const temporalPrefix = "TEMPORAL_"

// loadTemporal lets the SDK read TEMPORAL_*, and the profile file that they may name, with flags on top. It returns the
// secrets it came across and what was wrong.
func (c *Config) loadTemporal(s source) ([]string, []Problem) {
	c.Temporal.Address, c.Temporal.Namespace = client.DefaultHostPort, client.DefaultNamespace
	profile, err := envconfig.LoadClientConfigProfile(envconfig.LoadClientConfigProfileOptions{EnvLookup: temporalEnv{s}})
	if err != nil {
		return nil, []Problem{{"TEMPORAL_*", "cannot be read: " + err.Error()}}
	}
	secrets := []string{profile.APIKey}
	for _, header := range profile.GRPCMeta {
		secrets = append(secrets, header)
	}
	options, err := profile.ToClientOptions(envconfig.ToClientOptionsRequest{})
	if err != nil {
		return secrets, []Problem{{"TEMPORAL_TLS_*", "cannot be used: " + err.Error()}}
	}
	c.Temporal.Address = cmp.Or(options.HostPort, client.DefaultHostPort)
	c.Temporal.Namespace = cmp.Or(options.Namespace, client.DefaultNamespace)
	c.Temporal.Configured = options.HostPort != "" || options.Namespace != "" || profile.APIKey != ""
	if tlsOf := profile.TLS; tlsOf != nil && tlsOf.ClientCertPath != "" && options.ConnectionOptions.TLS != nil {
		renewable(options.ConnectionOptions.TLS, tlsOf.ClientCertPath, tlsOf.ClientKeyPath)
	}
	c.Temporal.options = options
	return secrets, nil
}

// renewable has the client's certificate read anew for each connection, where the SDK reads it once: certificates are short
// lived, and whoever renews them replaces the files. A pair that cannot be used, as between the writing of one and of the
// other, leaves the last one that could.
func renewable(conf *tls.Config, certFile, keyFile string) {
	var mu sync.Mutex
	last := conf.Certificates[0]
	conf.Certificates = nil
	conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		mu.Lock()
		defer mu.Unlock()
		if pair, err := tls.LoadX509KeyPair(certFile, keyFile); err == nil {
			last = pair
		}
		pair := last
		return &pair, nil
	}
}

// temporalEnv shows the SDK the flags as if they stood in the environment, and hides what is empty.
type temporalEnv struct{ source }

// LookupEnv implements envconfig.EnvLookup.
func (e temporalEnv) LookupEnv(name string) (string, bool) { return e.lookup(name) }

// Environ implements envconfig.EnvLookup.
func (e temporalEnv) Environ() []string {
	var entries []string
	for name, text := range e.env {
		if strings.HasPrefix(name, temporalPrefix) && text != "" {
			entries = append(entries, name+"="+text)
		}
	}
	return entries
}
