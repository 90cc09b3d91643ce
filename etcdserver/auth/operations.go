package auth

import (
	"fmt"
	"maps"
	"slices"
)

// An Operation changes a State. Apply refuses one that makes no sense with an *Error.
type Operation interface {
	apply(s *State, now int64) (Result, error)
}

// Result is what an operation has done.
type Result struct {
	Created bool
	User    *User    // PutUser: as it is now, with the roles in the order of the answer
	Roles   []string // PutUser: those of the answer
	Role    *Role    // PutRole: as it is now
}

// Apply makes the state after an operation, at a time of the log. If it is refused the state stays.
func (s *State) Apply(op Operation, now int64) (*State, Result, error) {
	next := &State{
		enabled: s.enabled, guestShutOut: s.guestShutOut, revision: s.revision + 1,
		users: s.users, roles: s.roles, tokens: s.tokens, bytes: s.bytes,
	}
	result, err := op.apply(next, now)
	if err != nil {
		return s, Result{}, err
	}
	if next.bytes > BytesMax && next.bytes > s.bytes {
		return s, Result{}, &Error{Conflict, fmt.Sprintf("auth: Users, roles and tokens take more than %d bytes", BytesMax)}
	}
	return next, result, nil
}

// setUser and its like replace a map by a copy: the earlier state keeps its own.
func (s *State) setUser(u *User) {
	s.users = cloned(s.users)
	if before := s.users[u.Name]; before != nil {
		s.bytes -= before.size()
	}
	s.users[u.Name] = u
	s.bytes += u.size()
}

func (s *State) setRole(r *Role) {
	s.roles = cloned(s.roles)
	if before := s.roles[r.Name]; before != nil {
		s.bytes -= before.size()
	}
	s.roles[r.Name] = r
	s.bytes += r.size()
}

func cloned[K comparable, V any](m map[K]V) map[K]V {
	if m == nil {
		return map[K]V{}
	}
	return maps.Clone(m)
}

// Enable turns the checks on (A17, A18).
type Enable struct{}

func (Enable) apply(s *State, _ int64) (Result, error) {
	switch {
	case s.enabled:
		return Result{}, &Error{Conflict, "auth: already enabled"}
	case s.users[Root] == nil:
		return Result{}, &Error{Conflict, "auth: No root user available, please create one"}
	}
	if s.roles[Guest] == nil {
		var p Permissions
		if !s.guestShutOut {
			p = Permissions{Read: []string{"/*"}, Write: []string{"/*"}}
		}
		s.setRole(newRole(Guest, p, false))
	}
	s.enabled = true
	return Result{}, nil
}

// Disable turns the checks off (A19).
type Disable struct{}

func (Disable) apply(s *State, _ int64) (Result, error) {
	if !s.enabled {
		return Result{}, &Error{Conflict, "auth: already disabled"}
	}
	s.enabled = false
	return Result{}, nil
}

// PutUser creates or updates a user (A23). With Grant or Revoke it updates; else with Roles it creates; else it does what
// is possible.
type PutUser struct {
	Name          string
	Hash          []byte // of the new password; empty: the password stays
	Roles         []string
	Grant, Revoke []string
}

func (o PutUser) apply(s *State, _ int64) (Result, error) {
	if err := checkUserName(o.Name); err != nil {
		return Result{}, err
	}
	if err := checkRoleNames(slices.Concat(o.Roles, o.Grant)...); err != nil {
		return Result{}, err
	}
	present := s.users[o.Name]
	switch {
	case len(o.Grant)+len(o.Revoke) > 0 && len(o.Roles) > 0:
		return Result{}, &Error{Invalid, "User JSON contains both roles and grant/revoke"}
	case len(o.Grant)+len(o.Revoke) > 0 && present == nil:
		return Result{}, &Error{Missing, fmt.Sprintf("auth: User %s does not exist.", o.Name)}
	case len(o.Roles) > 0 && present != nil:
		return Result{}, &Error{Conflict, fmt.Sprintf("auth: User %s already exists.", o.Name)}
	case present != nil:
		return o.update(s, present)
	case len(o.Hash) == 0:
		return Result{}, &Error{Invalid, fmt.Sprintf("auth: Cannot create user %s with an empty password", o.Name)}
	}
	u := &User{Name: o.Name, Hash: o.Hash}
	for _, name := range o.Roles { // as sent, once each
		if !slices.Contains(u.Roles, name) {
			u.Roles = append(u.Roles, name)
		}
	}
	s.setUser(u)
	return Result{Created: true, User: u, Roles: u.roles()}, nil
}

func (o PutUser) update(s *State, present *User) (Result, error) {
	roles := slices.Clone(present.roles())
	for _, name := range o.Grant {
		if slices.Contains(roles, name) {
			return Result{}, &Error{Conflict, fmt.Sprintf("auth: Granting duplicate role %s for user %s", name, o.Name)}
		}
		roles = append(roles, name)
	}
	for _, name := range o.Revoke {
		i := slices.Index(roles, name)
		if i < 0 {
			return Result{}, &Error{Conflict, fmt.Sprintf("auth: Revoking ungranted role %s for user %s", name, o.Name)}
		}
		roles = slices.Delete(roles, i, i+1)
	}
	slices.Sort(roles)
	hash := o.Hash
	if len(hash) == 0 {
		hash = present.Hash
		if slices.Equal(roles, slices.Sorted(slices.Values(present.roles()))) {
			return Result{}, &Error{Invalid, "auth: User not updated. Use grant/revoke/password to update the user."}
		}
	}
	u := &User{Name: o.Name, Hash: hash, Roles: roles}
	s.setUser(u)
	return Result{User: u, Roles: roles}, nil
}

// DeleteUser deletes a user, and the tokens of it.
type DeleteUser struct{ Name string }

func (o DeleteUser) apply(s *State, _ int64) (Result, error) {
	switch {
	case o.Name == Root && s.enabled:
		return Result{}, &Error{Forbidden, "auth: Cannot delete root user while auth is enabled."}
	case s.users[o.Name] == nil:
		return Result{}, &Error{Missing, fmt.Sprintf("auth: User %s does not exist", o.Name)}
	}
	s.users = cloned(s.users)
	s.bytes -= s.users[o.Name].size()
	delete(s.users, o.Name)
	s.dropTokens(func(t *Token) bool { return t.User == o.Name })
	return Result{}, nil
}

// PutRole creates a role, or with Grant or Revoke updates one (A30).
type PutRole struct {
	Name          string
	Permissions   Permissions
	Grant, Revoke Permissions
}

func (o PutRole) apply(s *State, _ int64) (Result, error) {
	if err := checkRoleNames(o.Name); err != nil {
		return Result{}, err
	}
	if o.Name == Root {
		return Result{}, errRootRole
	}
	if err := checkPatterns(slices.Concat(o.Permissions.Read, o.Permissions.Write, o.Grant.Read, o.Grant.Write)...); err != nil {
		return Result{}, err
	}
	present, updates := s.roles[o.Name], !o.Grant.isEmpty() || !o.Revoke.isEmpty()
	switch {
	case updates && !o.Permissions.isEmpty():
		return Result{}, &Error{Invalid, "Role JSON contains both permissions and grant/revoke"}
	case updates && present == nil:
		return Result{}, &Error{Missing, fmt.Sprintf("auth: Role %s does not exist.", o.Name)}
	case updates:
		return o.update(s, present)
	case present != nil:
		return Result{}, &Error{Conflict, fmt.Sprintf("auth: Role %s already exists.", o.Name)}
	}
	if o.Name == Guest {
		s.guestShutOut = false // whoever creates the role decides
	}
	r := newRole(o.Name, o.Permissions, false)
	s.setRole(r)
	return Result{Created: true, Role: r}, nil
}

var errRootRole = &Error{Forbidden, "auth: Cannot modify role root: is root role."}

func (o PutRole) update(s *State, present *Role) (Result, error) {
	read, err := changed(present.Read, o.Grant.Read, o.Revoke.Read, Read)
	if err != nil {
		return Result{}, err
	}
	write, err := changed(present.Write, o.Grant.Write, o.Revoke.Write, Write)
	if err != nil {
		return Result{}, err
	}
	if equalSets(read, present.Read) && equalSets(write, present.Write) {
		return Result{}, &Error{Invalid, "auth: Role not updated. Use grant/revoke to update the role."}
	}
	r := newRole(o.Name, Permissions{Read: read, Write: write}, true)
	s.setRole(r)
	return Result{Role: r}, nil
}

// changed gives a list with other patterns, sorted. Revoking one that is not there does nothing (A32).
func changed(list, grant, revoke []string, right Right) ([]string, error) {
	next := slices.Clone(list)
	for _, p := range grant {
		if slices.Contains(next, p) {
			return nil, &Error{Conflict, fmt.Sprintf("auth: Granting duplicate %s permission %s", right, p)}
		}
		next = append(next, p)
	}
	next = slices.DeleteFunc(next, func(p string) bool { return slices.Contains(revoke, p) })
	slices.Sort(next)
	return slices.Compact(next), nil
}

func equalSets(a, b []string) bool {
	sorted := slices.Compact(slices.Sorted(slices.Values(b)))
	return slices.Equal(a, sorted)
}

// DeleteRole deletes a role. Users keep it granted (A28).
type DeleteRole struct{ Name string }

func (o DeleteRole) apply(s *State, _ int64) (Result, error) {
	switch {
	case o.Name == Root:
		return Result{}, errRootRole
	case s.roles[o.Name] == nil:
		return Result{}, &Error{Missing, fmt.Sprintf("auth: Role %s doesn't exist.", o.Name)}
	}
	if o.Name == Guest && s.enabled {
		s.guestShutOut = true
	}
	s.roles = cloned(s.roles)
	s.bytes -= s.roles[o.Name].size()
	delete(s.roles, o.Name)
	return Result{}, nil
}

// CreateToken adds a token of a user. Created is the time at which it is applied.
type CreateToken struct {
	Token
	Lifetime int64 // ns of log time; 0: for ever
}

func (o CreateToken) apply(s *State, now int64) (Result, error) {
	user := s.users[o.User]
	if user == nil {
		return Result{}, &Error{Missing, fmt.Sprintf("auth: User %s does not exist.", o.User)}
	}
	for _, name := range o.Roles {
		if !slices.Contains(user.roles(), name) {
			return Result{}, &Error{Invalid, fmt.Sprintf("auth: User %s does not have role %s", o.User, name)}
		}
	}
	s.dropTokens(func(t *Token) bool { return t.expired(now) })
	if len(s.Tokens(o.User, now)) >= TokensMax {
		return Result{}, &Error{Conflict, fmt.Sprintf("auth: User %s has %d tokens already", o.User, TokensMax)}
	}
	t := o.Token
	t.Created, t.Expires = now, 0
	if o.Lifetime > 0 {
		t.Expires = now + o.Lifetime
	}
	if s.tokens[t.ID] != nil {
		return Result{}, &Error{Conflict, "auth: Token already exists."}
	}
	s.tokens = cloned(s.tokens)
	s.tokens[t.ID] = &t
	s.bytes += t.size()
	return Result{Created: true}, nil
}

// DeleteToken revokes a token, of one user if that is named.
type DeleteToken struct {
	ID   TokenID
	User string // "": whose it is does not matter
}

func (o DeleteToken) apply(s *State, now int64) (Result, error) {
	t := s.Token(o.ID, now)
	if t == nil || o.User != "" && t.User != o.User {
		return Result{}, &Error{Missing, "auth: Token does not exist."}
	}
	s.dropTokens(func(other *Token) bool { return other == t })
	return Result{}, nil
}

// dropTokens removes some tokens.
func (s *State) dropTokens(which func(*Token) bool) {
	next := cloned(s.tokens)
	maps.DeleteFunc(next, func(_ TokenID, t *Token) bool {
		if which(t) {
			s.bytes -= t.size()
			return true
		}
		return false
	})
	s.tokens = next
}
