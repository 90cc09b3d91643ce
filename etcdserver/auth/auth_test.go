package auth

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"canopy/internal/rng"
)

// play applies operations one after the other, and gives the last outcome.
func play(s *State, ops ...Operation) (*State, Result, error) {
	var r Result
	var err error
	for _, op := range ops {
		s, r, err = s.Apply(op, 1)
	}
	return s, r, err
}

var hash = []byte("$2a$10$hash")

func user(name string, roles ...string) PutUser { return PutUser{Name: name, Hash: hash, Roles: roles} }

func reads(name string, patterns ...string) PutRole {
	return PutRole{Name: name, Permissions: Permissions{Read: patterns}}
}

// Every refusal has its kind and its words (A17–A19, A22, A31, A36, A53), and changes nothing.
func TestRefusals(t *testing.T) {
	base := []Operation{user("bob", "r1"), reads("r1", "/a"), PutRole{Name: "r1", Grant: Permissions{Write: []string{"/b"}}}}
	for _, tt := range []struct {
		before []Operation
		op     Operation
		kind   Kind
		says   string
	}{
		{nil, Enable{}, Conflict, "auth: No root user available, please create one"},
		{[]Operation{user(Root), Enable{}}, Enable{}, Conflict, "auth: already enabled"},
		{nil, Disable{}, Conflict, "auth: already disabled"},
		{nil, PutUser{Name: "eve"}, Invalid, "auth: Cannot create user eve with an empty password"},
		{nil, user("bob", "r1"), Conflict, "auth: User bob already exists."},
		{nil, PutUser{Name: "dave", Grant: []string{"r"}}, Missing, "auth: User dave does not exist."},
		{nil, DeleteUser{"nope"}, Missing, "auth: User nope does not exist"},
		{nil, PutUser{Name: "bob", Grant: []string{"r1"}}, Conflict, "auth: Granting duplicate role r1 for user bob"},
		{nil, PutUser{Name: "bob", Grant: []string{"r2", "r2"}}, Conflict, "auth: Granting duplicate role r2 for user bob"},
		{nil, PutUser{Name: "bob", Revoke: []string{"zz"}}, Conflict, "auth: Revoking ungranted role zz for user bob"},
		{nil, PutUser{Name: "bob"}, Invalid, "auth: User not updated. Use grant/revoke/password to update the user."},
		{nil, PutUser{Name: "bob", Grant: []string{"x"}, Revoke: []string{"x"}}, Invalid, "auth: User not updated. Use grant/revoke/password to update the user."},
		{nil, PutUser{Name: "bob", Roles: []string{"a"}, Grant: []string{"b"}}, Invalid, "User JSON contains both roles and grant/revoke"},
		{[]Operation{user(Root), Enable{}}, DeleteUser{Root}, Forbidden, "auth: Cannot delete root user while auth is enabled."},
		{nil, reads("r1"), Conflict, "auth: Role r1 already exists."},
		{nil, PutRole{Name: "r1", Grant: Permissions{Read: []string{"/a"}}}, Conflict, "auth: Granting duplicate read permission /a"},
		{nil, PutRole{Name: "r1", Grant: Permissions{Write: []string{"/z", "/z"}}}, Conflict, "auth: Granting duplicate write permission /z"},
		{nil, PutRole{Name: "nope", Grant: Permissions{Read: []string{"/a"}}}, Missing, "auth: Role nope does not exist."},
		{nil, DeleteRole{"nope"}, Missing, "auth: Role nope doesn't exist."},
		{nil, PutRole{Name: "r1", Revoke: Permissions{Read: []string{"/c"}}}, Invalid, "auth: Role not updated. Use grant/revoke to update the role."},
		{nil, reads(Root), Forbidden, "auth: Cannot modify role root: is root role."},
		{nil, DeleteRole{Root}, Forbidden, "auth: Cannot modify role root: is root role."},
		{nil, PutRole{Name: "r1", Permissions: Permissions{Read: []string{"/a"}}, Revoke: Permissions{Read: []string{"/a"}}}, Invalid, "Role JSON contains both permissions and grant/revoke"},
		{nil, reads("x", ""), Invalid, `auth: Invalid permission pattern ""`},
		{nil, reads("x", "a"), Invalid, `auth: Invalid permission pattern "a"`},
		{nil, reads("x", "/a//b"), Invalid, `auth: Invalid permission pattern "/a//b"`},
		{nil, reads("x", "/a/../b"), Invalid, `auth: Invalid permission pattern "/a/../b"`},
		{nil, reads("x", "/a\x00"), Invalid, `auth: Invalid permission pattern "/a\x00"`},
		{nil, user("..", "r"), Invalid, `auth: Invalid user name ".."`},
		{nil, user("a/b"), Invalid, `auth: Invalid user name "a/b"`},
		{nil, user("a:b"), Invalid, `auth: Invalid user name "a:b"`},
		{nil, user(""), Invalid, `auth: Invalid user name ""`},
		{nil, user("x", ""), Invalid, `auth: Invalid role name ""`},
		{nil, PutUser{Name: "bob", Grant: []string{"a\n"}}, Invalid, `auth: Invalid role name "a\n"`},
		{nil, reads(strings.Repeat("x", 256)), Invalid, "auth: Invalid role name"},
		{nil, CreateToken{Token: Token{User: "nope"}}, Missing, "auth: User nope does not exist."},
		{nil, CreateToken{Token: Token{User: "bob", Roles: []string{Root}}}, Invalid, "auth: User bob does not have role root"},
		{nil, DeleteToken{}, Missing, "auth: Token does not exist."},
	} {
		s, _, err := play(&State{}, append(slices.Clone(base), tt.before...)...)
		if err != nil {
			t.Fatal(err)
		}
		after, _, err := s.Apply(tt.op, 1)
		var refused *Error
		if !errors.As(err, &refused) || refused.Kind != tt.kind || !strings.HasPrefix(refused.Message, tt.says) {
			t.Errorf("%+v: %v, want kind %d and %q", tt.op, err, tt.kind, tt.says)
		}
		if after != s {
			t.Errorf("%+v was refused, and changed the state", tt.op)
		}
	}
}

// What an operation answers is in the order that the reference has (A23–A26, A30).
func TestAnswers(t *testing.T) {
	s := &State{}
	for _, step := range []struct {
		op   Operation
		want string
	}{
		{user("bob"), "created []"},
		{user("carl", "r2", "r1", "r2"), "created [r2 r1]"},
		{PutUser{Name: "bob", Grant: []string{"r4", "r3", "r1"}}, "[r1 r3 r4]"},
		{PutUser{Name: "bob", Hash: []byte("new"), Revoke: []string{"r1"}}, "[r3 r4]"},
		{user(Root), "created [root]"},
		{PutUser{Name: Root, Grant: []string{"x"}}, "[root x]"},
		{PutUser{Name: Root, Revoke: []string{Root}}, "[x]"},
		{PutUser{Name: Root, Hash: []byte("other")}, "[root x]"},
	} {
		next, r, err := s.Apply(step.op, 1)
		if err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprint(r.Roles)
		if r.Created {
			got = "created " + got
		}
		if got != step.want {
			t.Errorf("%+v answers %s, want %s", step.op, got, step.want)
		}
		if next.Revision() != s.Revision()+1 {
			t.Errorf("%+v: revision %d after %d", step.op, next.Revision(), s.Revision())
		}
		s = next
	}
	if got := string(s.User("bob").Hash); got != "new" {
		t.Errorf("the password of bob is %q", got)
	}
	s, r, err := play(s, reads("r", "/b/*", "/a"), PutRole{Name: "r", Grant: Permissions{Read: []string{"/z"}}, Revoke: Permissions{Read: []string{"/a", "/none"}}})
	if err != nil || fmt.Sprint(r.Role.Read, r.Role.Write, r.Role.Updated) != "[/b/* /z] [] true" {
		t.Errorf("an updated role is %+v, %v", r.Role, err)
	}
	if names := fmt.Sprintf("%d %s %d %s", len(s.Roles()), s.Roles()[1].Name, len(s.Users()), s.Users()[2].Name); names != "2 root 3 root" {
		t.Errorf("the lists have %s", names)
	}
}

// A guest has what its role has, and users do not get it as well (A5–A7). Guest comes back without rights (A6).
func TestGuests(t *testing.T) {
	s, _, err := play(&State{}, user("bob", "gone"), user(Root))
	if err != nil || !s.Rights(Requester{User: "nobody"}, 1).Root() {
		t.Fatalf("while checks are off, somebody may not do all: %v", err)
	}
	s, _, err = play(s, Enable{})
	if err != nil || !s.Rights(Requester{}, 1).Allows(Write, "/x", true) || s.Rights(Requester{}, 1).Root() {
		t.Errorf("at first a guest may use all keys, and is not root: %v", err)
	}
	for _, who := range []string{"bob", "nobody", "..", Guest} {
		if s.Rights(Requester{User: who}, 1).Allows(Read, "/x", false) {
			t.Errorf("%q may read without a role", who)
		}
	}
	if !s.Rights(Requester{User: Root}, 1).Root() {
		t.Error("root may not do all")
	}
	off, _, err := play(s, Disable{}, DeleteRole{Guest}, Enable{})
	if err != nil || !off.Rights(Requester{}, 1).Allows(Read, "/x", false) {
		t.Errorf("a guest whose role was deleted while checks were off may not read when they are on: %v", err)
	}
	s, _, err = play(s, DeleteRole{Guest}, Disable{}, Enable{})
	if err != nil || s.Rights(Requester{}, 1).Allows(Read, "/x", false) {
		t.Errorf("a guest whose role was deleted may read after checks were turned off and on: %v", err)
	}
	s, _, err = play(s, Disable{}, DeleteRole{Guest}, Enable{})
	if err != nil || s.Rights(Requester{}, 1).Allows(Read, "/x", false) {
		t.Errorf("a guest who was shut out comes back: %v", err)
	}
}

// The table of A42 with A43: a final slash does not matter.
func TestWhatPatternsAllow(t *testing.T) {
	s, _, err := play(&State{}, user(Root), reads("P", "/app/*"), reads("E", "/app"), reads("S", "/*"), reads("W", "*"),
		user("P", "P"), user("E", "E"), user("S", "S"), user("W", "W"), Enable{})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		key       string
		recursive bool
		allowed   string
	}{
		{"", false, "SW"}, {"/", false, "SW"}, {"/app", false, "PESW"}, {"/app/", false, "PESW"},
		{"/app", true, "SW"}, {"/app/", true, "PSW"}, {"/app/a", false, "PSW"}, {"/app/_hidden", false, "PSW"},
		{"/app/d", true, "PSW"}, {"/application", false, "SW"}, {"/", true, "SW"},
	} {
		got := ""
		for _, who := range []string{"P", "E", "S", "W"} {
			r := s.Rights(Requester{User: who}, 1)
			if r.Allows(Read, tt.key, tt.recursive) {
				got += who
			}
			if r.Allows(Write, tt.key, tt.recursive) {
				t.Errorf("A38: %s may write %q", who, tt.key)
			}
		}
		if got != tt.allowed {
			t.Errorf("%q, recursive %v: allowed to %s, want %s", tt.key, tt.recursive, got, tt.allowed)
		}
	}
	if role, pattern, ok := s.Rights(Requester{User: "P"}, 1).Explain(Read, "/app/a", false); !ok || role != "P" || pattern != "/app/*" {
		t.Errorf("it is explained by %s %s", role, pattern)
	}
}

// naive is A39, A40 and A43, read one by one.
func naive(patterns []string, key string, recursive bool) bool {
	bare := strings.TrimSuffix(key, "/")
	texts := []string{bare, bare + "/"}
	if recursive {
		texts = []string{key}
	}
	for _, p := range patterns {
		for _, text := range texts {
			prefix, any := strings.CutSuffix(p, "*")
			if any && strings.HasPrefix(text, prefix) || !any && !recursive && text == p {
				return true
			}
		}
	}
	return false
}

// Matching agrees with a naive model for a million random patterns and keys.
func TestMatchingAgreesWithAModel(t *testing.T) {
	r := rng.New(t)
	word := func() string {
		var b strings.Builder
		for range r.IntN(4) {
			b.WriteByte('/')
			for range 1 + r.IntN(2) {
				b.WriteByte("ab*"[r.IntN(3)])
			}
		}
		return b.String()
	}
	cases := 1_000_000
	if testing.Short() {
		cases = 50_000
	}
	for done := 0; done < cases; {
		var list []string
		for range r.IntN(8) {
			p := word() + []string{"", "*", "/*"}[r.IntN(3)]
			if validPattern(p) {
				list = append(list, p)
			}
		}
		made := newPatterns(list)
		for range 50 {
			key, recursive := word()+[]string{"", "/"}[r.IntN(2)], r.IntN(2) == 0
			pattern, got := made.match(key, recursive)
			if want := naive(list, key, recursive); got != want {
				t.Fatalf("%q against %q, recursive %v: %v, want %v", key, list, recursive, got, want)
			}
			if got && !slices.Contains(list, pattern) {
				t.Fatalf("%q is explained by %q, which is not in %q", key, pattern, list)
			}
			done++
		}
	}
}

// Old data may hold patterns that match nothing (A36), and users whose roles are gone.
func TestUnusablePatterns(t *testing.T) {
	p := newPatterns([]string{"", "a", "/x//", "/../*", "b*", "**"})
	for _, key := range []string{"", "/", "a", "/x", "/..", "b", "/b"} {
		if pattern, ok := p.match(key, false); ok {
			t.Errorf("%q matches %q", key, pattern)
		}
	}
}

// A token stands for its user, within its roles, until it expires, is revoked, or the user is gone.
func TestTokens(t *testing.T) {
	id := TokenID{1}
	s, _, err := play(&State{}, user(Root), user("bob", "a", "b"), reads("a", "/a"), reads("b", "/b"), Enable{},
		CreateToken{Token: Token{ID: id, User: "bob", Roles: []string{"a"}}, Lifetime: 10})
	if err != nil {
		t.Fatal(err)
	}
	who := Requester{User: "bob", Token: id}
	allowed := func(s *State, now int64, key string) bool { return s.Rights(who, now).Allows(Read, key, false) }
	if !allowed(s, 10, "/a") || allowed(s, 10, "/b") {
		t.Error("a token that is limited to role a allows what b does, or not what a does")
	}
	if allowed(s, 11, "/a") || len(s.Tokens("bob", 11)) != 0 {
		t.Error("a token is valid after it expired")
	}
	if s.Rights(Requester{User: Root, Token: id}, 2).Root() {
		t.Error("a token of one user makes root of another")
	}
	for name, op := range map[string]Operation{
		"its user is deleted": DeleteUser{"bob"}, "it is revoked": DeleteToken{ID: id}, "its role is revoked": PutUser{Name: "bob", Revoke: []string{"a"}},
	} {
		if after, _, err := play(s, op); err != nil || allowed(after, 2, "/a") {
			t.Errorf("a token is valid after %s: %v", name, err)
		}
	}
	again, _, err := play(s, DeleteUser{"bob"}, user("bob", "a"))
	if err != nil || allowed(again, 2, "/a") {
		t.Errorf("a token is valid for another user of the same name: %v", err)
	}
	if !allowed(s, 2, "/a") {
		t.Error("a later state changed an earlier one")
	}
	if _, _, err := play(s, DeleteToken{ID: id, User: "carl"}); err == nil {
		t.Error("a user revokes the token of another")
	}
	for n := range TokensMax {
		if s, _, err = s.Apply(CreateToken{Token: Token{ID: TokenID{2, byte(n), byte(n >> 8)}, User: "bob"}}, 20); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err = s.Apply(CreateToken{Token: Token{ID: id, User: "bob"}}, 20); err == nil {
		t.Error("a user has tokens without bound")
	}
}

func BenchmarkAllows(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf("/app/%d/*", i))
		}
		s, _, err := play(&State{}, user(Root), reads("r", list...), user("bob", "r"), Enable{})
		if err != nil {
			b.Fatal(err)
		}
		rights := s.Rights(Requester{User: "bob"}, 1)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				if !rights.Allows(Read, "/app/7/x/y", false) {
					b.Fatal("refused")
				}
			}
		})
	}
}
