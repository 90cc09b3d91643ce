package accounts

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"canopy/etcdserver"
	"canopy/etcdserver/auth"
)

// tokenJSON is a token. Its secret is shown once.
type tokenJSON struct {
	ID      string   `json:"id"`
	Secret  string   `json:"token,omitempty"`
	User    string   `json:"user"`
	Roles   []string `json:"roles,omitempty"`
	Expires string   `json:"expires,omitempty"` // RFC 3339
}

func toTokenJSON(t *auth.Token) tokenJSON {
	j := tokenJSON{ID: textOf(t.ID), User: t.User, Roles: t.Roles}
	if t.Expires != 0 {
		j.Expires = time.Unix(0, t.Expires).UTC().Format(time.RFC3339)
	}
	return j
}

func (c *call) serveTokens(id string) {
	if id == "" {
		c.byMethod("GET,POST", map[string]func(){"GET": c.listTokens, "POST": c.createToken})
		return
	}
	c.byMethod("DELETE", map[string]func(){"DELETE": func() { c.deleteToken(id) }})
}

// asUser finds the user who asks, also while checks are off: a token is somebody's.
func (c *call) asUser() (*auth.State, etcdserver.Origin, bool) {
	s := c.read()
	if s == nil {
		return nil, etcdserver.Origin{}, false
	}
	who, err := c.Finder.Find(c.r, s, int64(c.Member.Now()))
	if err == nil && who.User == "" {
		err = ErrCredentials
	}
	if err != nil {
		c.failWith(err)
		return nil, etcdserver.Origin{}, false
	}
	c.w.Header().Set("X-Etcd-Cluster-Id", c.Cluster)
	return s, etcdserver.Origin{Requester: who, Revision: s.Revision()}, true
}

const (
	secretBytes   = 32
	tokenTTLMax   = 100 * 365 * 24 * 3600 // seconds
	tokenBodyZero = "auth: ttl must be a number of seconds, from 1"
)

// createToken makes a token of the user who asks with a password.
func (c *call) createToken() {
	_, from, ok := c.asUser()
	if !ok {
		return
	}
	if from.Token != (auth.TokenID{}) {
		c.deny() // a token makes no other one, which could outlive it
		return
	}
	var wanted struct {
		TTL   *int64
		Roles []string
	}
	err := json.NewDecoder(http.MaxBytesReader(c.w, c.r.Body, bodyMax)).Decode(&wanted)
	if err != nil && !errors.Is(err, io.EOF) { // a body is not needed
		c.fail(http.StatusBadRequest, "Invalid JSON in request body.")
		return
	}
	if wanted.TTL != nil && (*wanted.TTL < 1 || *wanted.TTL > tokenTTLMax) {
		c.fail(http.StatusBadRequest, tokenBodyZero)
		return
	}
	var random [secretBytes]byte
	_, _ = rand.Read(random[:]) // never fails
	secret := base64.RawURLEncoding.EncodeToString(random[:])
	op := auth.CreateToken{Token: auth.Token{ID: sha256.Sum256([]byte(secret)), User: from.User, Roles: wanted.Roles}}
	if wanted.TTL != nil {
		op.Lifetime = *wanted.TTL * int64(time.Second)
	}
	if _, ok := c.change(from, op); !ok {
		return
	}
	answer := tokenJSON{ID: textOf(op.ID), User: from.User, Roles: wanted.Roles}
	if t := c.Member.Auth().Token(op.ID, int64(c.Member.Now())); t != nil {
		answer = toTokenJSON(t)
	}
	answer.Secret = secret
	c.w.Header().Set("Cache-Control", "no-store")
	c.answer(http.StatusCreated, answer)
}

// listTokens shows a user's own tokens, or to root those of another user.
func (c *call) listTokens() {
	s, from, ok := c.asUser()
	if !ok {
		return
	}
	user := from.User
	if other := c.r.URL.Query().Get("user"); other != "" && other != user {
		if !c.isRoot(s, from) {
			c.deny()
			return
		}
		user = other
	}
	list := struct {
		Tokens []tokenJSON `json:"tokens"`
	}{[]tokenJSON{}}
	for _, t := range s.Tokens(user, int64(c.Member.Now())) {
		list.Tokens = append(list.Tokens, toTokenJSON(t))
	}
	c.answer(http.StatusOK, list)
}

// isRoot tells whether a user has the role root, also while checks are off.
func (c *call) isRoot(s *auth.State, from etcdserver.Origin) bool {
	u := s.User(from.User)
	if u == nil || !s.Rights(from.Requester, int64(c.Member.Now())).Root() {
		return false
	}
	for _, r := range s.RolesOf(u) {
		if r.Name == auth.Root {
			return true
		}
	}
	return false
}

// deleteToken revokes a token of the user who asks, or for root any.
func (c *call) deleteToken(id string) {
	s, from, ok := c.asUser()
	if !ok {
		return
	}
	op := auth.DeleteToken{User: from.User}
	if c.isRoot(s, from) {
		op.User = ""
	}
	for _, t := range s.Contents().Tokens {
		if textOf(t.ID) == id {
			op.ID = t.ID
		}
	}
	if _, ok := c.change(from, op); ok {
		c.answer(http.StatusOK, nil)
	}
}
