package tlsconf

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"time"
)

// Tracked gives l with connections that are closed when the certificate of the other side is revoked. The server begins TLS
// on them, with Server as its configuration. Without a certificate it gives l.
func (c *Current) Tracked(l net.Listener) net.Listener {
	if c.Set().Certificate == nil {
		return l
	}
	return listener{l, c, nil}
}

// Listener gives l with TLS, or l itself if there is no certificate. Its connections are of type *tls.Conn; the handshake
// begins with the first read or write.
func (c *Current) Listener(l net.Listener) net.Listener {
	if c.Set().Certificate == nil {
		return l
	}
	return listener{l, c, c.Server()}
}

// listener tracks each connection of another listener.
type listener struct {
	net.Listener
	of     *Current
	config *tls.Config // of TLS, which is begun here; nil: it is not
}

// Accept returns the next connection.
func (l listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	tracked := l.of.open.track(conn)
	if l.config == nil {
		return tracked, nil
	}
	return tls.Server(tracked, l.config), nil
}

// SetDeadline makes Accept fail at a time, if the listener below can do that.
func (l listener) SetDeadline(at time.Time) error {
	d, ok := l.Listener.(interface{ SetDeadline(time.Time) error })
	if !ok {
		return errors.ErrUnsupported
	}
	return d.SetDeadline(at)
}

// HTTP1 is the protocol of a listener that does not speak HTTP/2.
const HTTP1 = "http/1.1"

// Server is the configuration of a listener. Each handshake uses the present Set; sessions are resumed also after a change
// of it, if the certificate of the other side is still accepted. It offers the protocols, in this order; none: HTTP/2 and
// HTTP/1.1. Without a certificate it is nil.
func (c *Current) Server(protocols ...string) *tls.Config {
	if c.Set().Certificate == nil {
		return nil
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			in := c.in.Load()
			if !c.policy.Demanded && protocols == nil {
				return in.server, nil
			}
			own := in.server.Clone()
			if protocols != nil {
				own.NextProtos = protocols
			}
			if c.policy.Demanded {
				own.VerifyConnection = func(s tls.ConnectionState) error {
					return c.verify(hello.Conn, s, x509.ExtKeyUsageClientAuth)
				}
			}
			return own, nil
		},
	}
}

// server makes the configuration of listeners.
func (p Policy) server(set *Set) *tls.Config {
	if set.Certificate == nil {
		return nil
	}
	s := p.config()
	s.Certificates = []tls.Certificate{*set.Certificate}
	s.NextProtos = []string{"h2", HTTP1}
	s.DynamicRecordSizingDisabled = true // an answer is one record, and one write
	if p.Demanded {
		s.ClientAuth = tls.RequireAndVerifyClientCert
		s.ClientCAs = set.pool()
	}
	return s
}

// config has what both sides have in common.
func (p Policy) config() *tls.Config {
	return &tls.Config{MinVersion: max(p.MinVersion, tls.VersionTLS12), MaxVersion: p.MaxVersion, CipherSuites: p.CipherSuites}
}

// pool has the authorities; nil, which means those of the system, if there are none.
func (s *Set) pool() *x509.CertPool {
	if s.Authorities == nil {
		return nil
	}
	pool := x509.NewCertPool()
	for _, authority := range s.Authorities {
		pool.AddCert(authority)
	}
	return pool
}
