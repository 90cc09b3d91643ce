// Package auth is who may do what: users, roles, tokens, and whether they matter.
//
//	operation ──Apply──▶ State ──▶ Rights(requester) ──▶ Allows(right, key)
//	                       │
//	                       └─ revision, one more with each change
//
// A State is a part of the replicated state, beside the tree: one operation is one command in the log, and is judged when
// it is applied, in log order, so that no change is lost to another one (A62). States are immutable: a change makes another
// one, and requests are checked against the one that they found.
//
// It has no clock, no random numbers and no passwords. Who hashes and compares those is package login; here is what it
// stored. Names are keys of a map and never part of a path (A51).
package auth

import (
	"maps"
	"slices"
)

// Root is the name of the user that must exist while checks are on, and of the role that may do everything (A3, A4). Guest
// is the role of requests without credentials (A5).
const (
	Root  = "root"
	Guest = "guest"
)

// TokensMax is how many tokens a user can have.
const TokensMax = 1000

// BytesMax bounds a State, so that it always fits the head of a snapshot.
const BytesMax = 8 << 20

// perItem is what each name, pattern or token takes beyond its text.
const perItem = 16

func sizeOf(texts ...string) (n int) {
	for _, text := range texts {
		n += perItem + len(text)
	}
	return n
}

func (u *User) size() int  { return sizeOf(u.Name, string(u.Hash)) + sizeOf(u.Roles...) }
func (r *Role) size() int  { return sizeOf(r.Name) + sizeOf(r.Read...) + sizeOf(r.Write...) }
func (t *Token) size() int { return 4*perItem + len(t.ID) + sizeOf(t.User) + sizeOf(t.Roles...) }

// User is one user. It is immutable.
type User struct {
	Name  string
	Hash  []byte   // of the password, as bcrypt writes it; not empty
	Roles []string // granted, in the order of granting or sorted; they need not exist (A28)
}

// roles are the roles of a user as they count: the user root always has the role root (A4).
func (u *User) roles() []string {
	if u.Name != Root || slices.Contains(u.Roles, Root) {
		return u.Roles
	}
	return append(slices.Clone(u.Roles), Root)
}

// Permissions are the patterns of a role, as they were sent (A35). A list that is empty is shown as one, and one that is nil as
// null (A30).
type Permissions struct{ Read, Write []string }

func (p Permissions) isEmpty() bool { return len(p.Read)+len(p.Write) == 0 }

// Role is one role. It is immutable.
type Role struct {
	Name string
	Permissions
	Updated bool // it was changed since it was created; then no list is nil

	read, write patterns
}

func newRole(name string, p Permissions, updated bool) *Role {
	if updated {
		p.Read, p.Write = append([]string{}, p.Read...), append([]string{}, p.Write...)
	}
	return &Role{Name: name, Permissions: p, Updated: updated, read: newPatterns(p.Read), write: newPatterns(p.Write)}
}

// Token is a secret that stands for a user.
type Token struct {
	ID      TokenID
	User    string
	Roles   []string // of the user's, that it is limited to; nil: all
	Expires int64    // log time, ns; 0: never
	Created int64    // log time, ns
}

// TokenID is the SHA-256 of a token's secret.
type TokenID [32]byte

// State is all of it as of one entry of the log. The zero value is that of a new cluster: off, without users.
type State struct {
	enabled      bool
	guestShutOut bool // the role guest was deleted while checks were on: its rights do not come back (A6)
	revision     uint64
	users        map[string]*User
	roles        map[string]*Role
	tokens       map[TokenID]*Token
	bytes        int // of all names, hashes and patterns; <= BytesMax
}

// Contents are what a State holds, to be stored.
type Contents struct {
	Enabled, GuestShutOut bool
	Revision              uint64
	Users                 []User
	Roles                 []Role
	Tokens                []Token
}

// Contents gives what the state holds, in one order.
func (s *State) Contents() Contents {
	c := Contents{Enabled: s.enabled, GuestShutOut: s.guestShutOut, Revision: s.revision}
	for _, u := range s.Users() {
		c.Users = append(c.Users, *u)
	}
	for _, name := range slices.Sorted(maps.Keys(s.roles)) {
		c.Roles = append(c.Roles, *s.roles[name])
	}
	ids := slices.SortedFunc(maps.Keys(s.tokens), func(a, b TokenID) int { return slices.Compare(a[:], b[:]) })
	for _, id := range ids {
		c.Tokens = append(c.Tokens, *s.tokens[id])
	}
	return c
}

// Restore makes the state that Contents came from. Old data may hold names and patterns that are refused today: they are
// kept, and allow nothing.
func Restore(c Contents) *State {
	s := &State{
		enabled: c.Enabled, guestShutOut: c.GuestShutOut, revision: c.Revision,
		users: map[string]*User{}, roles: map[string]*Role{}, tokens: map[TokenID]*Token{},
	}
	for _, u := range c.Users {
		s.users[u.Name] = &u
		s.bytes += u.size()
	}
	for _, r := range c.Roles {
		s.roles[r.Name] = newRole(r.Name, r.Permissions, r.Updated)
		s.bytes += s.roles[r.Name].size()
	}
	for _, t := range c.Tokens {
		s.tokens[t.ID] = &t
		s.bytes += t.size()
	}
	return s
}

// Enabled tells whether requests are checked.
func (s *State) Enabled() bool { return s.enabled }

// Revision counts the changes.
func (s *State) Revision() uint64 { return s.revision }

// User finds a user; nil: there is none of the name.
func (s *State) User(name string) *User { return s.users[name] }

// Role finds a role; nil: there is none of the name. The role root is always there (A3).
func (s *State) Role(name string) *Role {
	if name == Root {
		return rootRole
	}
	return s.roles[name]
}

var rootRole = newRole(Root, Permissions{Read: []string{"/*"}, Write: []string{"/*"}}, false)

// RolesOf are the roles of a user as they count, in the order of their names. Those that do not exist are without patterns
// (A28).
func (s *State) RolesOf(u *User) []*Role {
	var all []*Role
	for _, name := range slices.Sorted(slices.Values(u.roles())) {
		role := s.Role(name)
		if role == nil {
			role = &Role{Name: name}
		}
		all = append(all, role)
	}
	return all
}

// Users are all users, by name.
func (s *State) Users() []*User {
	var all []*User
	for _, name := range slices.Sorted(maps.Keys(s.users)) {
		all = append(all, s.users[name])
	}
	return all
}

// Roles are all roles, root among them, by name (A33).
func (s *State) Roles() []*Role {
	all := []*Role{rootRole}
	for _, r := range s.roles {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b *Role) int { return compare(a.Name, b.Name) })
	return all
}

// Token finds a token that has not expired.
func (s *State) Token(id TokenID, now int64) *Token {
	t := s.tokens[id]
	if t == nil || t.expired(now) {
		return nil
	}
	return t
}

// Tokens are the tokens of a user that have not expired, the oldest first.
func (s *State) Tokens(user string, now int64) []*Token {
	var all []*Token
	for _, t := range s.tokens {
		if t.User == user && !t.expired(now) {
			all = append(all, t)
		}
	}
	slices.SortFunc(all, func(a, b *Token) int {
		if a.Created != b.Created {
			return compare(a.Created, b.Created)
		}
		return slices.Compare(a.ID[:], b.ID[:])
	})
	return all
}

func (t *Token) expired(now int64) bool { return t.Expires != 0 && t.Expires <= now }
