package client

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// A User has a password, and the rights of its roles. The user root has all rights.
type User struct {
	Name  string
	Roles []string
}

// A Role is a list of patterns of keys: a key, or the beginning of keys, followed by an asterisk.
type Role struct {
	Name        string
	Read, Write []string
}

// A Token stands for a user, instead of the password. Tokens are an extension: etcd has none.
type Token struct {
	ID      string
	Secret  string // known to who has made it
	User    string
	Roles   []string  // of the user's, that it is limited to; nil: all
	Expires time.Time // zero: never
}

const authPath = "/v2/auth/"

// UsersEnabled tells whether users and roles matter.
func (c *Client) UsersEnabled(ctx context.Context) (bool, error) {
	var state struct{ Enabled bool }
	_, err := c.do(ctx, call{method: http.MethodGet, path: authPath + "enable", into: &state})
	return state.Enabled, err
}

// EnableUsers makes users and roles matter. The user root must exist.
func (c *Client) EnableUsers(ctx context.Context) error {
	_, err := c.do(ctx, call{method: http.MethodPut, path: authPath + "enable"})
	return err
}

// DisableUsers lets everybody do everything.
func (c *Client) DisableUsers(ctx context.Context) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: authPath + "enable"})
	return err
}

// names reads a list whose entries are names, or objects with a name: servers differ (A23).
type names []string

// UnmarshalJSON implements json.Unmarshaler.
func (n *names) UnmarshalJSON(text []byte) error {
	var entries []json.RawMessage
	if err := json.Unmarshal(text, &entries); err != nil {
		return err
	}
	for _, entry := range entries {
		var name string
		if json.Unmarshal(entry, &name) != nil {
			var object struct{ User, Role string }
			if err := json.Unmarshal(entry, &object); err != nil {
				return err
			}
			name = object.User + object.Role
		}
		*n = append(*n, name)
	}
	return nil
}

// Users gives the names of all users.
func (c *Client) Users(ctx context.Context) ([]string, error) {
	var list struct{ Users names }
	_, err := c.do(ctx, call{method: http.MethodGet, path: authPath + "users", into: &list})
	return list.Users, err
}

// Roles gives the names of all roles.
func (c *Client) Roles(ctx context.Context) ([]string, error) {
	var list struct{ Roles names }
	_, err := c.do(ctx, call{method: http.MethodGet, path: authPath + "roles", into: &list})
	return list.Roles, err
}

func userPath(name string) string { return authPath + "users/" + url.PathEscape(name) }
func rolePath(name string) string { return authPath + "roles/" + url.PathEscape(name) }

// User gives a user.
func (c *Client) User(ctx context.Context, name string) (User, error) {
	var found struct {
		User  string
		Roles names
	}
	_, err := c.do(ctx, call{method: http.MethodGet, path: userPath(name), into: &found})
	return User{found.User, slices.Compact(slices.Clone(found.Roles))}, err
}

// userChange is the body of a change of a user.
type userChange struct {
	User     string   `json:"user"`
	Password string   `json:"password,omitempty"`
	Roles    []string `json:"roles,omitempty"`
	Grant    []string `json:"grant,omitempty"`
	Revoke   []string `json:"revoke,omitempty"`
}

func (c *Client) changeUser(ctx context.Context, change userChange) error {
	body, err := json.Marshal(change)
	if err != nil {
		return err
	}
	_, err = c.do(ctx, call{method: http.MethodPut, path: userPath(change.User), kind: kindJSON, body: string(body)})
	return err
}

// PutUser makes a user, or gives one that exists another password. The password must not be empty if the user is new.
func (c *Client) PutUser(ctx context.Context, name, password string, roles ...string) error {
	return c.changeUser(ctx, userChange{User: name, Password: password, Roles: roles})
}

// GrantRoles gives roles to a user.
func (c *Client) GrantRoles(ctx context.Context, user string, roles ...string) error {
	return c.changeUser(ctx, userChange{User: user, Grant: roles})
}

// RevokeRoles takes roles from a user.
func (c *Client) RevokeRoles(ctx context.Context, user string, roles ...string) error {
	return c.changeUser(ctx, userChange{User: user, Revoke: roles})
}

// DeleteUser deletes a user, and the user's tokens.
func (c *Client) DeleteUser(ctx context.Context, name string) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: userPath(name)})
	return err
}

// patterns are the rights of a role, as they are sent.
type patterns struct {
	KV struct {
		Read  []string `json:"read"`
		Write []string `json:"write"`
	} `json:"kv"`
}

func patternsOf(read, write []string) *patterns {
	p := &patterns{}
	p.KV.Read, p.KV.Write = slices.Concat([]string{}, read), slices.Concat([]string{}, write)
	return p
}

// roleChange is the body of a change of a role.
type roleChange struct {
	Role        string    `json:"role"`
	Permissions *patterns `json:"permissions,omitempty"`
	Grant       *patterns `json:"grant,omitempty"`
	Revoke      *patterns `json:"revoke,omitempty"`
}

func (c *Client) changeRole(ctx context.Context, change roleChange) error {
	body, err := json.Marshal(change)
	if err != nil {
		return err
	}
	_, err = c.do(ctx, call{method: http.MethodPut, path: rolePath(change.Role), kind: kindJSON, body: string(body)})
	return err
}

// Role gives a role.
func (c *Client) Role(ctx context.Context, name string) (Role, error) {
	var found struct {
		Role        string
		Permissions patterns
	}
	_, err := c.do(ctx, call{method: http.MethodGet, path: rolePath(name), into: &found})
	return Role{found.Role, found.Permissions.KV.Read, found.Permissions.KV.Write}, err
}

// CreateRole makes a role. It is refused if there is one of that name.
func (c *Client) CreateRole(ctx context.Context, r Role) error {
	return c.changeRole(ctx, roleChange{Role: r.Name, Permissions: patternsOf(r.Read, r.Write)})
}

// GrantPatterns adds patterns to a role: all of them, or none if it has one of them.
func (c *Client) GrantPatterns(ctx context.Context, role string, read, write []string) error {
	return c.changeRole(ctx, roleChange{Role: role, Grant: patternsOf(read, write)})
}

// RevokePatterns takes patterns from a role.
func (c *Client) RevokePatterns(ctx context.Context, role string, read, write []string) error {
	return c.changeRole(ctx, roleChange{Role: role, Revoke: patternsOf(read, write)})
}

// DeleteRole deletes a role.
func (c *Client) DeleteRole(ctx context.Context, name string) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: rolePath(name)})
	return err
}

// tokenJSON is a token as it is sent.
type tokenJSON struct {
	ID      string    `json:"id"`
	Token   string    `json:"token"`
	User    string    `json:"user"`
	Roles   []string  `json:"roles"`
	Expires time.Time `json:"expires"`
}

func (t tokenJSON) token() Token {
	return Token{ID: t.ID, Secret: t.Token, User: t.User, Roles: t.Roles, Expires: t.Expires}
}

// CreateToken makes a token of the user of this client, who has a password. With a lifetime it expires, in whole seconds,
// rounded up; with roles it is limited to these. An extension of Canopy.
func (c *Client) CreateToken(ctx context.Context, lifetime time.Duration, roles ...string) (Token, error) {
	var wanted struct {
		TTL   int64    `json:"ttl,omitempty"`
		Roles []string `json:"roles,omitempty"`
	}
	if lifetime < 0 {
		return Token{}, errors.New("client: the lifetime of a token is negative")
	}
	wanted.TTL, wanted.Roles = int64((lifetime+time.Second-1)/time.Second), roles
	body, err := json.Marshal(wanted)
	if err != nil {
		return Token{}, err
	}
	var made tokenJSON
	_, err = c.do(ctx, call{method: http.MethodPost, path: authPath + "tokens", kind: kindJSON, body: string(body), into: &made})
	return made.token(), err
}

// Tokens lists the tokens of a user, "" for that of this client. An extension of Canopy.
func (c *Client) Tokens(ctx context.Context, user string) (all []Token, err error) {
	q := query{}
	q.text("user", user)
	var list struct{ Tokens []tokenJSON }
	_, err = c.do(ctx, call{method: http.MethodGet, path: q.after(authPath + "tokens"), into: &list})
	for _, t := range list.Tokens {
		all = append(all, t.token())
	}
	return all, err
}

// RevokeToken ends a token, by its ID. An extension of Canopy.
func (c *Client) RevokeToken(ctx context.Context, id string) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: authPath + "tokens/" + url.PathEscape(id)})
	return err
}

// Explanation tells why a request is allowed or not.
type Explanation struct {
	Allowed bool   `json:"allowed"`
	Enabled bool   `json:"enabled"` // users matter
	Right   string `json:"right"`   // read or write
	Role    string `json:"role"`    // that allows it; "": none does
	Pattern string `json:"pattern"` // of that role
}

// Explain tells whether a user may do something with a key, and by which role. An extension of Canopy.
func (c *Client) Explain(ctx context.Context, user, key, method string, recursive bool) (Explanation, error) {
	q := query{}
	q.text("user", user)
	q.text("key", key)
	q.text("method", method)
	q.flag("recursive", recursive)
	var found Explanation
	_, err := c.do(ctx, call{method: http.MethodGet, path: q.after(authPath + "explain"), into: &found})
	return found, err
}
