package accounts

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net"
	"net/http"
	"strings"

	"canopy/etcdserver/auth"
	"canopy/etcdserver/login"
)

// ErrCredentials is for credentials that are wrong, malformed, or of nobody. Such a request is never that of a guest (A7).
var ErrCredentials = errors.New("auth: Insufficient credentials")

// Finder finds out who makes a request.
type Finder struct {
	Login     *login.Checker
	CertLogin bool // a client certificate stands for the user of its common name
}

// credentialsMax bounds a name and a password in a header, in bytes.
const credentialsMax = 8 << 10

// Find reads the Authorization header (section 7 of A). Errors are ErrCredentials, login.ErrBusy, and that of the request's
// context.
func (f *Finder) Find(r *http.Request, s *auth.State, now int64) (auth.Requester, error) {
	header := r.Header.Get("Authorization")
	if header == "" {
		return f.byCertificate(r, s), nil
	}
	scheme, rest, _ := strings.Cut(header, " ")
	switch {
	case len(rest) > credentialsMax:
	case strings.EqualFold(scheme, "Basic"):
		return f.basic(r, s, rest)
	case strings.EqualFold(scheme, "Bearer"):
		id := auth.TokenID(sha256.Sum256([]byte(rest)))
		if t := s.Token(id, now); t != nil {
			return auth.Requester{User: t.User, Token: id}, nil
		}
	}
	return auth.Requester{}, ErrCredentials
}

// byCertificate finds the user of the certificate that was presented, a guest if there is none (A69). Only the common name of
// the certificate itself counts, and not those of its authorities.
func (f *Finder) byCertificate(r *http.Request, s *auth.State) auth.Requester {
	if !f.CertLogin || r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return auth.Requester{}
	}
	if name := r.TLS.PeerCertificates[0].Subject.CommonName; s.User(name) != nil {
		return auth.Requester{User: name}
	}
	return auth.Requester{}
}

func (f *Finder) basic(r *http.Request, s *auth.State, encoded string) (auth.Requester, error) {
	user, password, ok := parseBasic(encoded)
	if !ok {
		return auth.Requester{}, ErrCredentials
	}
	right, err := f.Login.Right(r.Context(), s, user, password, addressOf(r))
	switch {
	case err != nil:
		return auth.Requester{}, err
	case !right:
		return auth.Requester{}, ErrCredentials
	}
	return auth.Requester{User: user}, nil
}

// parseBasic reads the user and the password, which may have colons (RFC 7617). The encoding must be padded.
func parseBasic(encoded string) (user, password string, ok bool) {
	b, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || strings.ContainsAny(encoded, "\r\n") {
		return "", "", false
	}
	user, password, ok = strings.Cut(string(b), ":")
	return user, password, ok && user != ""
}

// addressOf is where a request comes from, without the port.
func addressOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// textOf is how users see the id of a token.
func textOf(id auth.TokenID) string { return hex.EncodeToString(id[:16]) }
