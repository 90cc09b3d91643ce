package replica

import (
	"errors"
	"strings"

	"canopy/etcdserver/auth"
	pb "canopy/etcdserver/etcdserverpb"
	"canopy/store"
)

// requesterOf is who makes a request.
func requesterOf(r *pb.Request) auth.Requester {
	who := auth.Requester{User: r.Requester}
	copy(who.Token[:], r.Token)
	return who
}

// checkCommand checks a command again if users or roles have changed since the member that took it has done so, and what
// only the tree can tell: whether it gives a directory a TTL (A46).
func (s *State) checkCommand(r *pb.Request, c store.Command) error {
	if !s.Auth.Enabled() {
		return nil
	}
	key, recursive := Needs(c)
	if update, ok := c.(store.Update); ok && update.TTL.Set && update.Value == "" && s.Store.IsDir(update.Key) {
		recursive = true
	} else if r.AuthRevision == s.Auth.Revision() {
		return nil
	}
	who := requesterOf(r)
	if !s.Auth.Rights(who, int64(s.time)).Allows(auth.Write, key, recursive) {
		return &auth.DeniedError{Requester: who}
	}
	return nil
}

// Needs tells which key a command needs the right to write, and whether with all below it.
func Needs(c store.Command) (key string, recursive bool) {
	switch c := c.(type) {
	case store.Set:
		return c.Key.String(), c.Dir && c.TTL.Set
	case store.Create:
		return c.Key.String(), c.Dir && c.TTL.Set
	case store.CreateInOrder:
		return c.Dir.String(), false
	case store.Update:
		return c.Key.String(), false
	case store.CompareAndSwap:
		return c.Key.String(), false
	case store.Delete:
		return c.Key.String(), c.Recursive
	case store.CompareAndDelete:
		return c.Key.String(), false
	}
	return "/", true
}

// applyAuth runs a change of users, roles or tokens. Whoever asks must still be allowed to.
func (s *State) applyAuth(r *pb.Request, op auth.Operation) (*auth.Result, error) {
	who, now := requesterOf(r), int64(s.time)
	if r.AuthRevision != s.Auth.Revision() && !s.Auth.Rights(who, now).Root() && !own(who, op) {
		return nil, &auth.DeniedError{Requester: who}
	}
	next, result, err := s.Auth.Apply(op, now)
	if err != nil {
		return nil, err
	}
	s.Auth = next
	return &result, nil
}

// own tells whether an operation is about a token of the requester, which needs no right.
func own(who auth.Requester, op auth.Operation) bool {
	switch op := op.(type) {
	case auth.CreateToken:
		return who.User != "" && op.User == who.User && who.Token == (auth.TokenID{})
	case auth.DeleteToken:
		return who.User != "" && op.User == who.User
	}
	return false
}

// errNoOperation is an operation without a kind: a newer version has made it.
var errNoOperation = errors.New("a change of users, roles or tokens of an unknown kind")

// OperationToProto is how an operation stands in the log.
func OperationToProto(op auth.Operation) *pb.AuthOperation {
	switch op := op.(type) {
	case auth.Enable:
		return &pb.AuthOperation{Kind: &pb.AuthOperation_Enable{Enable: true}}
	case auth.Disable:
		return &pb.AuthOperation{Kind: &pb.AuthOperation_Disable{Disable: true}}
	case auth.PutUser:
		return &pb.AuthOperation{Kind: &pb.AuthOperation_PutUser{PutUser: &pb.PutUser{
			Name: op.Name, Hash: op.Hash, Roles: op.Roles, Grant: op.Grant, Revoke: op.Revoke,
		}}}
	case auth.DeleteUser:
		return &pb.AuthOperation{Kind: &pb.AuthOperation_DeleteUser{DeleteUser: op.Name}}
	case auth.PutRole:
		return &pb.AuthOperation{Kind: &pb.AuthOperation_PutRole{PutRole: &pb.PutRole{
			Name: op.Name, Permissions: permissionsToProto(op.Permissions), Grant: permissionsToProto(op.Grant), Revoke: permissionsToProto(op.Revoke),
		}}}
	case auth.DeleteRole:
		return &pb.AuthOperation{Kind: &pb.AuthOperation_DeleteRole{DeleteRole: op.Name}}
	case auth.CreateToken:
		t := tokenToProto(op.Token)
		t.Expires = uint64(op.Lifetime)
		return &pb.AuthOperation{Kind: &pb.AuthOperation_CreateToken{CreateToken: t}}
	case auth.DeleteToken:
		return &pb.AuthOperation{Kind: &pb.AuthOperation_DeleteToken{DeleteToken: &pb.AuthToken{Id: op.ID[:], User: op.User}}}
	}
	return &pb.AuthOperation{}
}

// CheckOperation tells whether an operation from another member can be applied.
func CheckOperation(p *pb.AuthOperation) error {
	_, err := operationFromProto(p)
	return err
}

// operationFromProto copies all that it keeps: p may be a part of an entry.
func operationFromProto(p *pb.AuthOperation) (auth.Operation, error) {
	switch kind := p.Kind.(type) {
	case *pb.AuthOperation_Enable:
		return auth.Enable{}, nil
	case *pb.AuthOperation_Disable:
		return auth.Disable{}, nil
	case *pb.AuthOperation_PutUser:
		u := kind.PutUser
		return auth.PutUser{
			Name: strings.Clone(u.Name), Hash: append([]byte(nil), u.Hash...),
			Roles: cloned(u.Roles), Grant: cloned(u.Grant), Revoke: cloned(u.Revoke),
		}, nil
	case *pb.AuthOperation_DeleteUser:
		return auth.DeleteUser{Name: strings.Clone(kind.DeleteUser)}, nil
	case *pb.AuthOperation_PutRole:
		r := kind.PutRole
		return auth.PutRole{
			Name: strings.Clone(r.Name), Permissions: permissionsFromProto(r.Permissions),
			Grant: permissionsFromProto(r.Grant), Revoke: permissionsFromProto(r.Revoke),
		}, nil
	case *pb.AuthOperation_DeleteRole:
		return auth.DeleteRole{Name: strings.Clone(kind.DeleteRole)}, nil
	case *pb.AuthOperation_CreateToken:
		t := tokenFromProto(kind.CreateToken)
		lifetime := t.Expires
		t.Expires = 0
		return auth.CreateToken{Token: t, Lifetime: lifetime}, nil
	case *pb.AuthOperation_DeleteToken:
		t := tokenFromProto(kind.DeleteToken)
		return auth.DeleteToken{ID: t.ID, User: t.User}, nil
	}
	return nil, errNoOperation
}

// authToProto is nil for the state of a cluster that has never had a user or a role, so that its snapshots are as ever.
func authToProto(s *auth.State) *pb.AuthState {
	if s.Revision() == 0 {
		return nil
	}
	c := s.Contents()
	p := &pb.AuthState{Enabled: c.Enabled, GuestShutOut: c.GuestShutOut, Revision: c.Revision}
	for _, u := range c.Users {
		p.Users = append(p.Users, &pb.AuthUser{Name: u.Name, Hash: u.Hash, Roles: u.Roles})
	}
	for _, r := range c.Roles {
		p.Roles = append(p.Roles, &pb.AuthRole{Name: r.Name, Permissions: permissionsToProto(r.Permissions), Updated: r.Updated})
	}
	for _, t := range c.Tokens {
		p.Tokens = append(p.Tokens, tokenToProto(t))
	}
	return p
}

func authFromProto(p *pb.AuthState) *auth.State {
	if p == nil {
		return &auth.State{}
	}
	c := auth.Contents{Enabled: p.Enabled, GuestShutOut: p.GuestShutOut, Revision: p.Revision}
	for _, u := range p.Users {
		c.Users = append(c.Users, auth.User{Name: u.Name, Hash: u.Hash, Roles: u.Roles})
	}
	for _, r := range p.Roles {
		c.Roles = append(c.Roles, auth.Role{Name: r.Name, Permissions: permissionsFromProto(r.Permissions), Updated: r.Updated})
	}
	for _, t := range p.Tokens {
		c.Tokens = append(c.Tokens, tokenFromProto(t))
	}
	return auth.Restore(c)
}

func permissionsToProto(p auth.Permissions) *pb.Permissions {
	if p.Read == nil && p.Write == nil {
		return nil
	}
	return &pb.Permissions{
		Read: p.Read, Write: p.Write,
		ReadListed: p.Read != nil && len(p.Read) == 0, WriteListed: p.Write != nil && len(p.Write) == 0,
	}
}

func permissionsFromProto(p *pb.Permissions) auth.Permissions {
	if p == nil {
		return auth.Permissions{}
	}
	return auth.Permissions{Read: listed(p.Read, p.ReadListed), Write: listed(p.Write, p.WriteListed)}
}

func tokenToProto(t auth.Token) *pb.AuthToken {
	return &pb.AuthToken{Id: t.ID[:], User: t.User, Limited: t.Roles != nil, Roles: t.Roles, Expires: uint64(t.Expires), Created: uint64(t.Created)}
}

func tokenFromProto(p *pb.AuthToken) auth.Token {
	t := auth.Token{User: strings.Clone(p.User), Expires: int64(p.Expires), Created: int64(p.Created)}
	copy(t.ID[:], p.Id)
	if p.Limited {
		t.Roles = append([]string{}, cloned(p.Roles)...)
	}
	return t
}

// listed is a copy that tells an empty list from none: who creates a role is shown what was sent (A30).
func listed(all []string, empty bool) []string {
	if empty && len(all) == 0 {
		return []string{}
	}
	return cloned(all)
}

func cloned(all []string) (copies []string) {
	for _, text := range all {
		copies = append(copies, strings.Clone(text))
	}
	return copies
}
