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
	"canopy/etcdserver/metrics"
	"canopy/internal/audit"
)

// ErrCredentials is for credentials that are wrong, malformed, or of nobody. Such a request is never that of a guest (A7).
var ErrCredentials = errors.New("auth: Insufficient credentials")

// Finder finds out who makes a request.
type Finder struct {
	Login     *login.Checker
	Count     *metrics.Logins
	CertLogin bool // a client certificate stands for the user of its common name
}

// credentialsMax bounds a name and a password in a header, in bytes.
const credentialsMax = 8 << 10

// Find reads the Authorization header (section 7 of A), counts the outcome, and adds it to the entry of the audit log. Errors
// are ErrCredentials, login.ErrBusy, and that of the request's context.
func (f *Finder) Find(r *http.Request, s *auth.State, now int64) (auth.Requester, error) {
	who, by, err := f.find(r, s, now)
	if e := audit.Of(r.Context()); e != nil {
		e.User, e.By = who.User, by
	}
	switch {
	case err == nil:
		f.Count.Found(by)
		return who, nil
	case errors.Is(err, ErrCredentials):
		f.Count.Refused(metrics.NoCredentials)
	case errors.Is(err, login.ErrBusy):
		f.Count.Refused(metrics.NoTime)
	}
	return auth.Requester{}, err
}

// find gives a requester also with an error: the one that the request claims to be of.
func (f *Finder) find(r *http.Request, s *auth.State, now int64) (who auth.Requester, by string, err error) {
	header := r.Header.Get("Authorization")
	if header == "" {
		who, by = f.byCertificate(r, s)
		return who, by, nil
	}
	scheme, rest, _ := strings.Cut(header, " ")
	switch {
	case len(rest) > credentialsMax:
	case strings.EqualFold(scheme, "Basic"):
		who, err = f.basic(r, s, rest)
		return who, metrics.ByPassword, err
	case strings.EqualFold(scheme, "Bearer"):
		id := auth.TokenID(sha256.Sum256([]byte(rest)))
		if t := s.Token(id, now); t != nil {
			return auth.Requester{User: t.User, Token: id}, metrics.ByToken, nil
		}
	}
	return auth.Requester{}, "", ErrCredentials
}

// byCertificate finds the user of the certificate that was presented, a guest if there is none (A69). Only the common name of
// the certificate itself counts, and not those of its authorities.
func (f *Finder) byCertificate(r *http.Request, s *auth.State) (who auth.Requester, by string) {
	if !f.CertLogin || r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return auth.Requester{}, metrics.ByNothing
	}
	if name := r.TLS.PeerCertificates[0].Subject.CommonName; s.User(name) != nil {
		return auth.Requester{User: name}, metrics.ByCertificate
	}
	return auth.Requester{}, metrics.ByNothing
}

func (f *Finder) basic(r *http.Request, s *auth.State, encoded string) (auth.Requester, error) {
	user, password, ok := parseBasic(encoded)
	if !ok {
		return auth.Requester{}, ErrCredentials
	}
	right, err := f.Login.Right(r.Context(), s, user, password, addressOf(r))
	if err == nil && !right {
		err = ErrCredentials
	}
	return auth.Requester{User: user}, err
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
