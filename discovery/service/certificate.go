package service

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"os"
	"sync"
)

// pemMax bounds what is read of a file with certificates or a key, in bytes.
const pemMax = 1 << 20

// Certificate is that of a listener, in files that may be replaced while it is
// used. They are read at each handshake, which costs far more than that; so it
// does not matter how they are replaced.
type Certificate struct {
	certFile, keyFile string
	log               Log

	mu        sync.Mutex // guards what follows, for the length of one method
	cert, key []byte     // of which good was made
	good      *tls.Certificate
	complaint string // what was logged last about files that cannot be used
}

// OpenCertificate reads a certificate, with those between it and its authority,
// and its key, both PEM.
func OpenCertificate(certFile, keyFile string, log Log) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile, log: log}
	return c, c.reload()
}

// Config is that of a listener which shows the certificate.
func (c *Certificate) Config() *tls.Config {
	return &tls.Config{GetCertificate: c.current, NextProtos: []string{"h2", "http/1.1"}}
}

// current gives the certificate in the files, or the one before while they
// cannot be used.
func (c *Certificate) current(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	complaint := ""
	if err := c.reload(); err != nil {
		complaint = err.Error()
	}
	if complaint != "" && complaint != c.complaint {
		c.log.Warnf("%s; the certificate from before is used on", complaint)
	}
	c.complaint = complaint
	return c.good, nil
}

// reload reads the files, and takes what is new in them.
func (c *Certificate) reload() error {
	cert, err := readPEM(c.certFile)
	if err != nil {
		return fmt.Errorf("--cert-file: %w", err)
	}
	key, err := readPEM(c.keyFile)
	if err != nil {
		return fmt.Errorf("--key-file: %w", err)
	}
	if c.good != nil && bytes.Equal(cert, c.cert) && bytes.Equal(key, c.key) {
		return nil
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("--cert-file %s, --key-file %s: %w", c.certFile, c.keyFile, err)
	}
	if c.good != nil {
		c.log.Infof("the certificate in %s has changed, and is used from now on", c.certFile)
	}
	c.cert, c.key, c.good = cert, key, &pair
	return nil
}

func readPEM(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, pemMax))
}
