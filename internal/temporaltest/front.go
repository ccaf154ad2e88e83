package temporaltest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// Front stands before a Temporal server as Temporal Cloud's does, over TLS: it knows one namespace, lets in who has a key, or
// a certificate of the right authority, and leaves out what Temporal Cloud has other tools for. Of what passes it knows
// nothing but the method and the headers.
type Front struct {
	// Address is host:port, CAFile the authority of the front's own certificate.
	Address, CAFile string

	namespace string

	mu        sync.Mutex
	key       string
	clients   *x509.CertPool // of whom certificates are taken; nil when none is asked for
	authority *Authority     // the one of clients
	open      []net.Conn
	passed    map[string]int // requests by the name in the client's certificate, or by method when there is none
}

// Login says how a front lets in.
type Login struct {
	Key          string // the API key, when not empty
	Certificates bool   // or a client's certificate of Front.Authority
}

// operatorService is what Temporal Cloud has tools of its own for.
const operatorService = "/temporal.api.operatorservice.v1.OperatorService/"

// NewFront starts one before the server of Variable.
func NewFront(t testing.TB, namespace string, login Login) *Front {
	t.Helper()
	conn, err := grpc.NewClient(os.Getenv(Variable), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	own := NewAuthority(t, "the front's authority")
	f := &Front{
		namespace: namespace, key: login.Key, passed: map[string]int{},
		CAFile: own.File(t),
	}
	if login.Certificates {
		f.Trust(NewAuthority(t, "the clients' authority"))
	}
	pair := own.issue(t, "127.0.0.1", time.Now().Add(time.Hour))
	settings := &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		c := &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2"}}
		if f.clients != nil {
			c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, f.clients
		}
		return c, nil
	}}
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(settings)), grpc.ForceServerCodec(asItIs{}),
		grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error { return f.pass(conn, stream) }))
	t.Cleanup(server.Stop)
	var listen net.ListenConfig
	l, err := listen.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.Address = l.Addr().String()
	go func() { _ = server.Serve(&listener{l, f}) }()
	return f
}

// listener knows the connections that it has accepted.
type listener struct {
	net.Listener
	front *Front
}

func (l *listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.front.mu.Lock()
		defer l.front.mu.Unlock()
		l.front.open = append(l.front.open, conn)
	}
	return conn, err
}

// Trust takes the certificates of the authority, and of no other any more: it closes the connections that there are.
func (f *Front) Trust(authority *Authority) {
	pool := x509.NewCertPool()
	pool.AddCert(authority.certificate)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.clients, f.authority = pool, authority
	for _, conn := range f.open {
		_ = conn.Close()
	}
	f.open = nil
}

// Rekey takes that key, and no other any more.
func (f *Front) Rekey(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.key = key
}

func (f *Front) admits(authorization []string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.key == "" || slices.Equal(authorization, []string{"Bearer " + f.key})
}

// Authority is that of the clients.
func (f *Front) Authority() *Authority {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.authority
}

// Passed is how many requests were let through of clients with that name in their certificate, or, where no certificates are
// asked for, to that method.
func (f *Front) Passed(name string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.passed[name]
}

func (f *Front) pass(conn *grpc.ClientConn, stream grpc.ServerStream) error {
	ctx := stream.Context()
	method, _ := grpc.MethodFromServerStream(stream)
	header, _ := metadata.FromIncomingContext(ctx)
	who := method
	if p, ok := peer.FromContext(ctx); ok {
		if secure, ok := p.AuthInfo.(credentials.TLSInfo); ok && len(secure.State.PeerCertificates) > 0 {
			who = secure.State.PeerCertificates[0].Subject.CommonName
		}
	}
	switch {
	case !f.admits(header.Get("authorization")):
		return status.Error(codes.Unauthenticated, "Request unauthorized.")
	case !slices.Equal(header.Get("temporal-namespace"), []string{f.namespace}) && !strings.HasSuffix(method, "/GetSystemInfo"):
		return status.Error(codes.PermissionDenied, "Request unauthorized.")
	case strings.HasPrefix(method, operatorService):
		return status.Error(codes.PermissionDenied, "Operation requires an admin.")
	}
	var request, answer []byte
	if err := stream.RecvMsg(&request); err != nil {
		return err
	}
	f.mu.Lock()
	f.passed[who]++
	f.mu.Unlock()
	if err := conn.Invoke(metadata.NewOutgoingContext(ctx, header), method, &request, &answer, grpc.ForceCodec(asItIs{})); err != nil {
		return err
	}
	return stream.SendMsg(&answer)
}

// asItIs leaves messages as they are.
type asItIs struct{}

func (asItIs) Name() string                       { return "proto" }
func (asItIs) Marshal(v any) ([]byte, error)      { return *v.(*[]byte), nil }
func (asItIs) Unmarshal(data []byte, v any) error { *v.(*[]byte) = data; return nil }

// Authority signs certificates.
type Authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// NewAuthority makes one.
func NewAuthority(t testing.TB, name string) *Authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-48 * time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &Authority{certificate: certificate, key: key}
}

// File has the authority's certificate.
func (a *Authority) File(t testing.TB) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.pem")
	write(t, file, "CERTIFICATE", a.certificate.Raw)
	return file
}

// Write writes a certificate for the name, valid until then, and its key, as a renewal does.
func (a *Authority) Write(t testing.TB, name string, until time.Time, certFile, keyFile string) {
	t.Helper()
	pair := a.issue(t, name, until)
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	write(t, certFile, "CERTIFICATE", pair.Certificate[0])
	write(t, keyFile, "PRIVATE KEY", key)
}

func (a *Authority) issue(t testing.TB, name string, until time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-24 * time.Hour),
		NotAfter: until, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}, a.certificate, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// write replaces the file at once, so that whoever reads it never finds half of it.
func write(t testing.TB, file, kind string, der []byte) {
	t.Helper()
	text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	err := os.WriteFile(file+".new", text, 0o600)
	if err == nil {
		err = os.Rename(file+".new", file)
	}
	if err != nil {
		t.Fatal(err)
	}
}
