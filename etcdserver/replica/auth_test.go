package replica

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"canopy/etcdserver/auth"
	pb "canopy/etcdserver/etcdserverpb"
	"canopy/raft"
	"canopy/store"
)

// outcome applies a request, and gives what became of it.
func (a *applier) outcome(r *pb.Request) Effect {
	a.t.Helper()
	data, err := r.MarshalVT()
	if err != nil {
		a.t.Fatal(err)
	}
	var content Content
	e := raft.Entry{Index: a.Index + 1, Term: 1, Data: data}
	if err := content.Decode(e); err != nil {
		a.t.Fatal(err)
	}
	effect, err := a.Apply(e, &content)
	if err != nil {
		a.t.Fatal(err)
	}
	for i := range data { // the state must not be a part of the entry
		data[i] = 'x'
	}
	a.Store.Publish()
	return effect
}

// as makes an operation of a requester who was allowed at a revision.
func as(user string, revision uint64, op auth.Operation) *pb.Request {
	return &pb.Request{Time: 1, Requester: user, AuthRevision: revision, Kind: &pb.Request_Auth{Auth: OperationToProto(op)}}
}

// guarded is a state with checks on: bob may use /app, and a guest nothing.
func guarded(t *testing.T) *applier {
	t.Helper()
	a := newApplier(t)
	for _, op := range []auth.Operation{
		auth.PutUser{Name: auth.Root, Hash: []byte("h")}, auth.PutUser{Name: "bob", Hash: []byte("h"), Roles: []string{"r"}},
		auth.PutRole{Name: "r", Permissions: auth.Permissions{Read: []string{"/app/*"}, Write: []string{"/app/*", "/dir"}}},
		auth.PutRole{Name: auth.Guest}, auth.Enable{},
	} {
		if e := a.outcome(as("", a.Auth.Revision(), op)); e.Err != nil || !e.Agreed {
			t.Fatalf("%+v: %+v", op, e)
		}
	}
	return a
}

// command makes a command of a requester.
func (a *applier) command(user string, revision uint64, c store.Command) *pb.Request {
	a.t.Helper()
	b, err := store.EncodeCommand(nil, c)
	if err != nil {
		a.t.Fatal(err)
	}
	return &pb.Request{Time: 1, Requester: user, AuthRevision: revision, Kind: &pb.Request_Command{Command: b}}
}

func key(t *testing.T, text string) store.Key {
	t.Helper()
	k, err := store.ParseKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func isDenied(err error) bool { return errors.As(err, new(*auth.DeniedError)) }

// A write that was allowed by users and roles of another revision is checked again when it is applied (A63): of a member
// that lags, or that believes that checks are off.
func TestWritesAreCheckedAgain(t *testing.T) {
	a := guarded(t)
	now := a.Auth.Revision()
	for _, tt := range []struct {
		user     string
		revision uint64
		command  store.Command
		denied   bool
	}{
		{"bob", now, store.Set{Key: key(t, "/elsewhere"), Value: "1"}, false}, // was checked by the member that took it
		{"bob", now - 1, store.Set{Key: key(t, "/app/k"), Value: "1"}, false},
		{"bob", now - 1, store.Set{Key: key(t, "/elsewhere"), Value: "1"}, true},
		{"bob", now + 1, store.Set{Key: key(t, "/elsewhere"), Value: "1"}, true},
		{"", 0, store.Set{Key: key(t, "/app/k"), Value: "1"}, true},
		{"..", 0, store.Set{Key: key(t, "/app/k"), Value: "1"}, true},
		{auth.Root, 0, store.Set{Key: key(t, "/elsewhere"), Value: "1"}, false},
		{"bob", 0, store.Set{Key: key(t, "/dir"), Dir: true}, false},
		{"bob", 0, store.Delete{Key: key(t, "/dir"), Recursive: true}, true},
		{"bob", 0, store.Create{Key: key(t, "/dir"), Dir: true, TTL: store.TTL{Set: true, Seconds: 1}}, true}, // A46
		{"bob", now, store.Update{Key: key(t, "/dir"), TTL: store.TTL{Set: true, Seconds: 1}}, true},          // only the tree tells that it is a directory
		{"bob", 0, store.CreateInOrder{Dir: key(t, "/app"), Value: "1"}, false},                               // A47 with A43
		{"bob", 0, store.CompareAndDelete{Key: key(t, "/elsewhere"), PrevValue: "1"}, true},
	} {
		index := a.Store.View().Index()
		e := a.outcome(a.command(tt.user, tt.revision, tt.command))
		if isDenied(e.Err) != tt.denied {
			t.Errorf("%q at %d of %d, %+v: %v, want denied %v", tt.user, tt.revision, now, tt.command, e.Err, tt.denied)
		}
		if tt.denied && a.Store.View().Index() != index {
			t.Errorf("%+v was denied, and moved the index", tt.command)
		}
	}
}

// A change of users and roles by somebody who has lost the right is refused when it is applied.
func TestChangesOfUsersAreCheckedAgain(t *testing.T) {
	a := guarded(t)
	now := a.Auth.Revision()
	for _, tt := range []struct {
		user   string
		op     auth.Operation
		denied bool
	}{
		{"", auth.DeleteUser{Name: "bob"}, true},
		{"bob", auth.PutUser{Name: "bob", Grant: []string{auth.Root}}, true},
		{"bob", auth.Disable{}, true},
		{"bob", auth.CreateToken{Token: auth.Token{ID: auth.TokenID{1}, User: auth.Root}}, true},
		{"bob", auth.CreateToken{Token: auth.Token{ID: auth.TokenID{1}, User: "bob"}}, false},
		{"bob", auth.DeleteToken{ID: auth.TokenID{1}}, true},
		{"bob", auth.DeleteToken{ID: auth.TokenID{1}, User: "bob"}, false},
		{auth.Root, auth.DeleteUser{Name: "bob"}, false},
	} {
		if e := a.outcome(as(tt.user, now-1, tt.op)); isDenied(e.Err) != tt.denied {
			t.Errorf("%q, %+v: %v, want denied %v", tt.user, tt.op, e.Err, tt.denied)
		}
	}
}

// Parallel grants are operations in the log, so that all survive (A62, R93).
func TestParallelGrantsSurvive(t *testing.T) {
	a := guarded(t)
	seen := a.Auth.Revision()
	for n := range 100 { // all were made by members that had seen the same
		if e := a.outcome(as(auth.Root, seen, auth.PutUser{Name: "bob", Grant: []string{fmt.Sprint("g", n)}})); e.Err != nil {
			t.Fatal(e.Err)
		}
	}
	if roles := a.Auth.User("bob").Roles; len(roles) != 101 {
		t.Errorf("bob has %d roles, want 101", len(roles))
	}
	if after := a.restarted(); after.hash() != a.hash() || len(after.Auth.User("bob").Roles) != 101 {
		t.Error("a snapshot has other users")
	}
}

// All that is accepted fits a snapshot.
func TestUsersFitASnapshot(t *testing.T) {
	a := newApplier(t)
	long := strings.Repeat("n", 240)
	var err error
	for n := 0; err == nil; n++ {
		var grants []string
		for i := range 200 {
			grants = append(grants, fmt.Sprintf("%s%d.%d", long, n, i))
		}
		err = a.outcome(as("", a.Auth.Revision(), auth.PutUser{Name: fmt.Sprint(n), Hash: []byte("h"), Roles: grants})).Err
	}
	var refused *auth.Error
	if !errors.As(err, &refused) || refused.Kind != auth.Conflict {
		t.Fatalf("users without end: %v", err)
	}
	if after := a.restarted(); after.hash() != a.hash() {
		t.Error("a snapshot has other users")
	}
	if e := a.outcome(as("", a.Auth.Revision(), auth.DeleteUser{Name: "0"})); e.Err != nil {
		t.Errorf("a user cannot be deleted when there are too many: %v", e.Err)
	}
}

// An operation of a kind that this version does not know stops the member, like any entry that it cannot apply.
func TestUnknownOperations(t *testing.T) {
	data, err := as("", 0, nil).MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	var content Content
	if err := content.Decode(raft.Entry{Index: 1, Term: 1, Data: data}); err == nil {
		t.Error("an operation without a kind is applied")
	}
	if err := CheckOperation(&pb.AuthOperation{}); err == nil {
		t.Error("an operation without a kind is taken from another member")
	}
}

// A list of patterns that was sent empty stays one, and one that was not sent stays absent (A30), in entries and in snapshots.
func TestEmptyListsOfPatterns(t *testing.T) {
	for name, p := range map[string]auth.Permissions{
		"both": {Read: []string{}, Write: []string{}}, "none": {}, "one": {Write: []string{}}, "patterns": {Read: []string{"/a"}},
	} {
		a := newApplier(t)
		if e := a.outcome(as("", a.Auth.Revision(), auth.PutRole{Name: name, Permissions: p})); e.Err != nil {
			t.Fatal(e.Err)
		}
		for what, s := range map[string]*auth.State{"applied": a.Auth, "restored": authFromProto(authToProto(a.Auth))} {
			if r := s.Role(name); (r.Read == nil) != (p.Read == nil) || (r.Write == nil) != (p.Write == nil) {
				t.Errorf("%s, %s: %#v, want %#v", name, what, r.Permissions, p)
			}
		}
	}
}
