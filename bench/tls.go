package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"canopy/internal/tlsconf"
)

// security is what the command line says of TLS.
type security struct {
	on                        bool // servers are started with https
	caFile, certFile, keyFile string
	serverName                string
	each                      bool
}

// config is for connections to an endpoint of https.
func (s security) config() (*tls.Config, error) {
	files := tlsconf.Files{
		Cert: tlsconf.File{Flag: "--cert-file", Name: s.certFile}, Key: tlsconf.File{Flag: "--key-file", Name: s.keyFile},
		Authorities: []tlsconf.File{{Flag: "--ca-file", Name: s.caFile}},
	}
	set, err := files.Load()
	if err != nil {
		return nil, err
	}
	c := &tls.Config{ServerName: s.serverName}
	if set.Authorities != nil {
		c.RootCAs = x509.NewCertPool()
		for _, authority := range set.Authorities {
			c.RootCAs.AddCert(authority)
		}
	}
	if set.Certificate != nil {
		c.Certificates = []tls.Certificate{*set.Certificate}
	}
	return c, nil
}

// certify makes a certificate for a server that is started here, and gives what its clients trust.
func certify(dir string) (files tlsconf.Files, c *tls.Config, err error) {
	made := tlsconf.SelfSigned{Dir: filepath.Join(dir, "tls"), Hosts: []string{"127.0.0.1"}, Flag: "--tls"}
	if _, err := made.Renew(time.Now()); err != nil {
		return tlsconf.Files{}, nil, err
	}
	text, err := os.ReadFile(made.Files().Cert.Name)
	if err != nil {
		return tlsconf.Files{}, nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return tlsconf.Files{}, nil, fmt.Errorf("%s cannot be read", made.Files().Cert.Name)
	}
	return made.Files(), &tls.Config{RootCAs: roots}, nil
}

// handshake begins TLS with the server at an address.
func handshake(c net.Conn, address string, config *tls.Config) (net.Conn, error) {
	own := config.Clone()
	if own.ServerName == "" {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		own.ServerName = host
	}
	secured := tls.Client(c, own)
	if err := errors.Join(c.SetDeadline(time.Now().Add(ioTimeout)), secured.Handshake()); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return secured, nil
}

func runConnect(ctx context.Context, t target, o options) (result, error) {
	return connects(ctx, t, o, func() tls.ClientSessionCache { return nil })
}

func runResume(ctx context.Context, t target, o options) (result, error) {
	if t.tls == nil {
		return result{}, errors.New("sessions are resumed with TLS only: give --tls")
	}
	return connects(ctx, t, o, func() tls.ClientSessionCache { return tls.NewLRUClientSessionCache(1) })
}

// connects makes connections from o.connections goroutines, one after the other each, with one read over each of them.
func connects(ctx context.Context, t target, o options, cache func() tls.ClientSessionCache) (result, error) {
	if err := preload(ctx, t, 1, o.valueBytes); err != nil {
		return result{}, err
	}
	begin := time.Now()
	histograms := make([]histogram, o.connections)
	errs := make([]error, o.connections)
	resumed := make([]int, o.connections)
	var all sync.WaitGroup
	for i := range o.connections {
		own := t
		if own.tls != nil {
			own.tls = own.tls.Clone()
			own.tls.ClientSessionCache = cache()
		}
		all.Go(func() {
			for errs[i] == nil && time.Since(begin) < o.duration && ctx.Err() == nil {
				var again bool
				if again, errs[i] = connectOnce(own, &histograms[i]); again {
					resumed[i]++
				}
			}
		})
	}
	all.Wait()
	var sum histogram
	again := 0
	for i := range histograms {
		sum.merge(&histograms[i])
		again += resumed[i]
	}
	r := summary(&sum, time.Since(begin))
	r.Extra["resumed"] = float64(again)
	return r, errors.Join(append(errs, ctx.Err())...)
}

// connectOnce makes a connection, reads a key, and closes it.
func connectOnce(t target, h *histogram) (resumed bool, err error) {
	begin := time.Now()
	c, err := dial(t)
	if err != nil {
		return false, err
	}
	defer c.Close()
	request := t.get("/v2/keys" + key(0))
	status, err := c.exchange(request, nil)
	if err != nil {
		return false, err
	}
	if status != 200 {
		return false, badStatus(request, strconv.Itoa(status))
	}
	h.add(time.Since(begin))
	if secured, ok := c.Conn.(*tls.Conn); ok {
		resumed = secured.ConnectionState().DidResume
	}
	return resumed, nil
}
