package tlsconf

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"math/big"
	"net"
	"slices"
	"sync"
	"time"
)

// A RefusedError says why a certificate of an authority is refused all the same.
type RefusedError struct {
	Leaf   *x509.Certificate
	Kind   string // one of Reasons
	Reason string
}

// Error tells what the certificate holds, too.
func (e *RefusedError) Error() string {
	return e.Reason + "; the certificate is that of " + described(e.Leaf)
}

// verify judges the certificates of the other side, beyond what crypto/tls does at a full handshake.
func (c *Current) verify(conn net.Conn, s tls.ConnectionState, usage x509.ExtKeyUsage) error {
	set := c.Set()
	chains := s.VerifiedChains
	if s.DidResume { // the session may be older than the set
		var err error
		if chains, err = set.chains(s.PeerCertificates, usage); err != nil {
			return err
		}
	}
	if len(chains) == 0 {
		return nil // nothing was demanded
	}
	leaf := chains[0][0]
	if err := set.checkRevoked(chains); err != nil {
		return err
	}
	if err := c.policy.checkNames(leaf); err != nil {
		return err
	}
	if c.policy.AddressVerified && usage == x509.ExtKeyUsageClientAuth {
		if err := checkAddress(leaf, conn.RemoteAddr()); err != nil {
			return err
		}
	}
	if tracked := trackedBelow(conn); tracked != nil {
		tracked.hold(chains)
	}
	if now := c.Set(); now != set { // it came meanwhile, and did not find this connection
		return now.checkRevoked(chains)
	}
	return nil
}

// chains leads from a certificate to the authorities.
func (s *Set) chains(presented []*x509.Certificate, usage x509.ExtKeyUsage) ([][]*x509.Certificate, error) {
	if len(presented) == 0 {
		return nil, nil
	}
	between := x509.NewCertPool()
	for _, c := range presented[1:] {
		between.AddCert(c)
	}
	return presented[0].Verify(x509.VerifyOptions{Roots: s.pool(), Intermediates: between, KeyUsages: []x509.ExtKeyUsage{usage}})
}

// checkRevoked refuses certificates of which each chain has a revoked one.
func (s *Set) checkRevoked(chains [][]*x509.Certificate) error {
	if s.Revoked == nil {
		return nil
	}
	var revoked *x509.Certificate
	for _, chain := range chains {
		i := slices.IndexFunc(chain, s.isRevoked)
		if i < 0 {
			return nil
		}
		revoked = chain[i]
	}
	return &RefusedError{chains[0][0], Revoked, fmt.Sprintf("the certificate with the serial number %x is revoked", revoked.SerialNumber)}
}

// revocation is a certificate as lists name it.
func revocation(issuer []byte, serial *big.Int) string { return string(issuer) + serial.String() }

// revoke takes the lists, and makes an index of them.
func (s *Set) revoke(lists []*x509.RevocationList) {
	s.Revoked, s.revoked = lists, map[string]bool{}
	for _, list := range lists {
		for _, entry := range list.RevokedCertificateEntries {
			s.revoked[revocation(list.RawIssuer, entry.SerialNumber)] = true
		}
	}
}

func (s *Set) isRevoked(c *x509.Certificate) bool {
	return s.revoked[revocation(c.RawIssuer, c.SerialNumber)]
}

// checkNames refuses certificates that lack the allowed names.
func (p Policy) checkNames(leaf *x509.Certificate) error {
	if p.AllowedName != "" && leaf.Subject.CommonName != p.AllowedName {
		return &RefusedError{leaf, WrongName, fmt.Sprintf("only the common name %q is allowed", p.AllowedName)}
	}
	if p.AllowedHost != "" && leaf.VerifyHostname(p.AllowedHost) != nil {
		return &RefusedError{leaf, WrongName, fmt.Sprintf("only certificates that are valid for %q are allowed", p.AllowedHost)}
	}
	return nil
}

// The names of a certificate that are looked up during a handshake, and how long that may take in all.
const (
	lookupsMax    = 8
	lookupTimeout = 5 * time.Second
)

// checkAddress refuses a certificate whose owner connects from an address that it is not valid for.
func checkAddress(leaf *x509.Certificate, remote net.Addr) error {
	host, _, err := net.SplitHostPort(remote.String())
	if err != nil {
		return err
	}
	ip := net.ParseIP(host)
	if len(leaf.DNSNames)+len(leaf.IPAddresses) == 0 || slices.ContainsFunc(leaf.IPAddresses, ip.Equal) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
	defer cancel()
	for _, name := range leaf.DNSNames[:min(len(leaf.DNSNames), lookupsMax)] {
		addresses, err := net.DefaultResolver.LookupIP(ctx, "ip", name)
		if err == nil && slices.ContainsFunc(addresses, ip.Equal) {
			return nil
		}
	}
	return &RefusedError{leaf, WrongName, fmt.Sprintf("it comes from %s, which the certificate is not valid for", host)}
}

// connections are those that are open and whose other side has presented a certificate, so that they can be closed when it
// is revoked.
type connections struct {
	mu  sync.Mutex // guards all, and chains of each
	all map[*trackedConn]struct{}
}

// trackedConn is a connection below TLS.
type trackedConn struct {
	net.Conn
	of     *connections
	chains [][]*x509.Certificate // of the other side
}

func (c *connections) track(conn net.Conn) *trackedConn { return &trackedConn{Conn: conn, of: c} }

// trackedBelow finds the tracked connection in one that is around it; nil: there is none.
func trackedBelow(conn net.Conn) *trackedConn {
	for {
		if t, ok := conn.(*trackedConn); ok {
			return t
		}
		around, wraps := conn.(interface{ NetConn() net.Conn })
		if !wraps {
			return nil
		}
		conn = around.NetConn()
	}
}

// NetConn is the connection below, as of tls.Conn.
func (t *trackedConn) NetConn() net.Conn { return t.Conn }

func (t *trackedConn) hold(chains [][]*x509.Certificate) {
	t.of.mu.Lock()
	defer t.of.mu.Unlock()
	t.chains = chains
	if t.of.all == nil {
		t.of.all = map[*trackedConn]struct{}{}
	}
	t.of.all[t] = struct{}{}
}

// Close closes the connection.
func (t *trackedConn) Close() error {
	t.of.mu.Lock()
	delete(t.of.all, t)
	t.of.mu.Unlock()
	return t.Conn.Close()
}

// cut is a connection that was closed, and why.
type cut struct {
	remote net.Addr
	err    error
}

// closeRevoked closes the connections whose other side has a certificate that is revoked by now.
func (c *connections) closeRevoked(set *Set) (cuts []cut) {
	c.mu.Lock()
	open := maps.Clone(c.all)
	c.mu.Unlock()
	for t := range open {
		if err := set.checkRevoked(t.chains); err != nil {
			_ = t.Close() // nothing can be done about an error
			cuts = append(cuts, cut{t.RemoteAddr(), err})
		}
	}
	return cuts
}
