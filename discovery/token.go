package discovery

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// Token is the meeting point of the processes of a new cluster: the directory of
// a discovery service or of any v2 cluster (D3). The zero Token is none.
type Token struct {
	text string // as given, without user and password
	url  url.URL
	user *url.Userinfo // nil: none
}

// ParseToken parses a discovery URL. Its user and password are used only for
// requests: they are neither hashed nor shown (D43).
func ParseToken(text string) (Token, error) {
	u, err := url.Parse(text)
	if err != nil {
		return Token{}, errors.New("discovery URL: it cannot be parsed; a user and a password must be escaped as in https://user:p%40ss@host/token") // its error shows parts of them
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return Token{}, errors.New("discovery URL: allowed is http:// or https://, a host, and the path of a token")
	}
	t := Token{text: text, url: *u, user: u.User}
	if u.User != nil {
		scheme, rest, _ := strings.Cut(text, "://")
		authority, _, _ := strings.Cut(rest, "/")
		t.text = scheme + "://" + rest[strings.LastIndexByte(authority, '@')+1:]
	}
	t.url.User, t.url.RawQuery, t.url.ForceQuery, t.url.Fragment = nil, "", false, ""
	return t, nil
}

// String is the URL that is hashed into IDs (B17) and logged.
func (t Token) String() string { return t.text }

// Host is the name or address of the service, without a port.
func (t Token) Host() string { return t.url.Hostname() }

// at is the URL of a path below the token.
func (t Token) at(below string) *url.URL {
	u := t.url
	extend := func(path string) string { return strings.TrimSuffix(path, "/") + below }
	u.Path = extend(u.Path)
	if u.RawPath != "" {
		u.RawPath = extend(u.RawPath)
	}
	return &u
}

// Why a token cannot be used, for errors.Is.
var (
	ErrNoSize         = errors.New("no size is set for this token")
	ErrBadSize        = errors.New("discovery: size key is bad")
	ErrBadEndpoint    = errors.New("discovery: bad discovery endpoint")
	ErrRefused        = errors.New("discovery: the endpoint refuses")
	ErrInvalidURL     = errors.New("discovery: invalid URL")
	ErrDuplicateName  = errors.New("member with duplicated name has registered with discovery service token")
	ErrDuplicateURL   = errors.New("discovery cluster has duplicate url")
	ErrDuplicateID    = errors.New("discovery cluster has members with identical ID")
	ErrOtherValue     = errors.New("this member has registered with other values before")
	ErrAlreadyStarted = errors.New("this member has run before and its data is gone")
)

// Advice for operators.
const (
	adviceNewToken = "discovery token was used, but failed to bootstrap the cluster; please generate a new discovery token and try to bootstrap again"
	adviceNoReuse  = "please check (cURL) the discovery token for more information; please do not reuse the discovery token and generate a new one to bootstrap the cluster"
	adviceEndpoint = "check --discovery: it must be the URL of a token, as /new of a discovery service gives it, or http://host:port/v2/keys/… of a v2 cluster"
)

// TokenError tells the permanent reason why a token cannot be used.
type TokenError struct {
	Token  Token
	Reason error  // one of the above
	Fact   string // what was found; "": the reason is enough
	Advice string // what to do
}

// Error is one line: the reason, what was found, the token, the advice.
func (e *TokenError) Error() string {
	reason := e.Reason.Error()
	if e.Fact != "" {
		reason += ": " + e.Fact
	}
	return fmt.Sprintf("failed to join discovery cluster (%s), token %s: %s", reason, e.Token, e.Advice)
}

// Unwrap gives the reason.
func (e *TokenError) Unwrap() error { return e.Reason }

// FullError tells that the token has all its members, and this process is not
// one of them (D7). Their peer URLs are for a proxy.
type FullError struct {
	Token   Token
	Members []Peer
}

// Error tells what to do about it.
func (e *FullError) Error() string {
	return fmt.Sprintf("failed to join discovery cluster (discovery: cluster is full), token %s: all %d members have registered; with --discovery-fallback=proxy this process would be a proxy to them",
		e.Token, len(e.Members))
}
