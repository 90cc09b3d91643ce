package tlsconf

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
)

// sessionsMax is how many servers a Current remembers the session of.
const sessionsMax = 64

// client makes the configuration of connections that are made.
func (p Policy) client(set *Set) *tls.Config {
	c := p.config()
	c.RootCAs = set.pool()
	c.InsecureSkipVerify = p.Unverified
	c.ClientSessionCache = tls.NewLRUClientSessionCache(sessionsMax)
	if set.Certificate != nil {
		// crypto/tls would show none to a server that trusts other authorities, and both sides would be told that there is none.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return set.Certificate, nil }
	}
	return c
}

// Handshake begins TLS on a connection to a host, which the certificate of the other side must be valid for. If it fails,
// or ctx ends before, the connection is closed.
func (c *Current) Handshake(ctx context.Context, conn net.Conn, host string) (*tls.Conn, error) {
	tracked := c.open.track(conn)
	own := c.in.Load().client.Clone()
	own.ServerName = host
	own.VerifyConnection = func(s tls.ConnectionState) error { return c.verify(tracked, s, x509.ExtKeyUsageServerAuth) }
	t := tls.Client(tracked, own)
	if err := t.HandshakeContext(ctx); err != nil {
		_ = tracked.Close() // err has the reason
		return nil, err
	}
	return t, nil
}

// DialTLS connects to an address, with the handshake, as http.Transport.DialTLSContext.
func (c *Current) DialTLS(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	t, err := c.Handshake(ctx, conn, host)
	if err != nil {
		return nil, err
	}
	return t, nil
}
