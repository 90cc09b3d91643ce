package auth

import "slices"

// Right is what one may do with a key.
type Right uint8

// The rights. One to write does not include that to read (A38).
const (
	Read Right = iota
	Write
)

// String names the right.
func (r Right) String() string {
	if r == Read {
		return "read"
	}
	return "write"
}

// Requester is who a request comes from, after the credentials were checked. The zero value is a guest.
type Requester struct {
	User  string  // "": a guest
	Token TokenID // by which the user identified; zero: by a password or a certificate
}

// Rights are what a requester may do. They are those of one State.
type Rights struct {
	all   bool // checks are off, or it is root
	root  bool
	roles []*Role
}

// Rights finds what a requester may do at a time of the log. Whoever is unknown may do nothing, and is no guest (A7).
func (s *State) Rights(who Requester, now int64) Rights {
	if !s.enabled {
		return Rights{all: true, root: true}
	}
	names := []string{Guest}
	if who.User != "" {
		names = s.namesOf(who, now)
	}
	var r Rights
	for _, name := range names {
		if role := s.Role(name); role == rootRole {
			return Rights{all: true, root: true}
		} else if role != nil {
			r.roles = append(r.roles, role)
		}
	}
	return r
}

// namesOf are the roles of a user, or those that a token leaves of them.
func (s *State) namesOf(who Requester, now int64) []string {
	user := s.users[who.User]
	if user == nil {
		return nil
	}
	names := user.roles()
	if who.Token == (TokenID{}) {
		return names
	}
	t := s.Token(who.Token, now)
	if t == nil || t.User != who.User {
		return nil
	}
	if t.Roles == nil {
		return names
	}
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !slices.Contains(t.Roles, name) })
}

// Root tells whether the requester may do what only the role root may.
func (r Rights) Root() bool { return r.root }

// Allows tells whether the requester has a right on a key, or on the key and all below it. The key is the path of the
// request behind /v2/keys, decoded (A37).
func (r Rights) Allows(right Right, key string, recursive bool) bool {
	_, _, ok := r.Explain(right, key, recursive)
	return ok
}

// Explain finds the role and its pattern that allow it.
func (r Rights) Explain(right Right, key string, recursive bool) (role, pattern string, ok bool) {
	if r.all {
		return Root, "*", true
	}
	for _, each := range r.roles {
		list := &each.read
		if right == Write {
			list = &each.write
		}
		if pattern, ok := list.match(key, recursive); ok {
			return each.Name, pattern, true
		}
	}
	return "", "", false
}
