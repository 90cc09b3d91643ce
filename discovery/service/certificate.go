package service

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"os"
	"sync"
)

// pemMax bounds how many bytes of a file with certificates or a key are read.
const pemMax = 1 << 20

// Certificate is the certificate of a listener. Its files may be replaced while
// it is in use, in any way: they are read at each handshake, which costs far more
// than that.
type Certificate struct {
	certFile, keyFile string
	log               Log

	mu        sync.Mutex // guards the fields below, for the length of one method
	cert, key []byte     // contents of the files of good
	good      *tls.Certificate
	complaint string // last logged fault of the files
}

// OpenCertificate reads a certificate, with its intermediate ones, and its key,
// both PEM.
func OpenCertificate(certFile, keyFile string, log Log) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile, log: log}
	return c, c.reload()
}

// Config is the configuration of a listener with the certificate.
func (c *Certificate) Config() *tls.Config {
	return &tls.Config{GetCertificate: c.current, NextProtos: []string{"h2", "http/1.1"}}
}

// current gives the certificate in the files, or the previous one while they
// cannot be used.
func (c *Certificate) current(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	complaint := ""
	if err := c.reload(); err != nil {
		complaint = err.Error()
	}
	if complaint != "" && complaint != c.complaint {
		c.log.Warnf("%s; the previous certificate stays in use", complaint)
	}
	c.complaint = complaint
	return c.good, nil
}

// reload reads the files, and uses their contents if they have changed.
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
		c.log.Infof("the certificate in %s has changed; new connections use it", c.certFile)
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
