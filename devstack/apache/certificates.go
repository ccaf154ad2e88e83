package apache

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Files of the certificates, under the folder "tls".
const (
	caFile      = "ca.pem"
	strangeFile = "another-ca.pem"
	brokerFile  = "broker.pem"
)

// certify makes an authority, a certificate of it for the broker, and another authority that nothing is signed by. Those
// that are there are kept: clients know them.
func certify(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, brokerFile)); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	ca, err := newAuthority("vidflow devstack CA")
	if err != nil {
		return err
	}
	strange, err := newAuthority("another CA")
	if err != nil {
		return err
	}
	broker, err := ca.sign()
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, caFile), ca.certificate, 0o644),
		os.WriteFile(filepath.Join(dir, strangeFile), strange.certificate, 0o644),
		os.WriteFile(filepath.Join(dir, brokerFile), broker, 0o600)) // last: it says that all is there
}

// authority signs certificates.
type authority struct {
	template    *x509.Certificate
	key         *ecdsa.PrivateKey
	certificate []byte // PEM
}

const validity = 90 * 24 * time.Hour

func newAuthority(name string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(validity),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return &authority{template: template, key: key, certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}, nil
}

// sign returns key and certificates of a broker on this machine, as Kafka wants them in one file.
func (a *authority) sign() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: "localhost"},
		NotBefore:    a.template.NotBefore,
		NotAfter:     a.template.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}, a.template, &key.PublicKey, a.key)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	file := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
	file = append(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	return append(file, a.certificate...), nil
}
