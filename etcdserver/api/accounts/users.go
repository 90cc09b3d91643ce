package accounts

import (
	"net/http"

	"canopy/etcdserver/auth"
)

// userJSON is a user, with roles as objects (A27).
type userJSON struct {
	User  string     `json:"user"`
	Roles []roleJSON `json:"roles,omitempty"`
}

// userPutJSON is the answer to a change, with roles as names (A24).
type userPutJSON struct {
	User  string   `json:"user"`
	Roles []string `json:"roles"`
}

func (c *call) listUsers() {
	s, _, ok := c.asRoot()
	if !ok {
		return
	}
	list := struct {
		Users []userJSON `json:"users"`
	}{}
	for _, u := range s.Users() {
		one := userJSON{User: u.Name}
		for _, role := range s.RolesOf(u) {
			if s.Role(role.Name) != nil { // A27: those that do not exist are left out
				one.Roles = append(one.Roles, toRoleJSON(role))
			}
		}
		list.Users = append(list.Users, one)
	}
	c.answer(http.StatusOK, list)
}

func (c *call) showUser(name string) {
	s, _, ok := c.asRoot()
	if !ok {
		return
	}
	u := s.User(name)
	if u == nil {
		c.fail(http.StatusNotFound, "auth: User "+name+" does not exist.")
		return
	}
	one := userJSON{User: u.Name}
	for _, role := range s.RolesOf(u) {
		one.Roles = append(one.Roles, toRoleJSON(role))
	}
	c.answer(http.StatusOK, one)
}

func (c *call) putUser(name string) {
	_, from, ok := c.asRoot()
	if !ok {
		return
	}
	var wanted struct {
		User, Password       string
		Roles, Grant, Revoke []string
	}
	if !c.decode(&wanted) {
		return
	}
	switch {
	case wanted.User != name:
		c.fail(http.StatusBadRequest, "User JSON name does not match the name in the URL")
		return
	case len(wanted.Roles) > 0 && len(wanted.Grant)+len(wanted.Revoke) > 0:
		c.fail(http.StatusBadRequest, "User JSON contains both roles and grant/revoke")
		return
	}
	op := auth.PutUser{Name: name, Roles: wanted.Roles, Grant: wanted.Grant, Revoke: wanted.Revoke}
	if wanted.Password != "" {
		hash, err := c.Login.Hash(c.r.Context(), wanted.Password)
		if err != nil {
			c.failWith(err)
			return
		}
		op.Hash = hash
	}
	result, ok := c.change(from, op)
	if !ok {
		return
	}
	status := http.StatusOK
	if result.Created && len(wanted.Roles) == 0 { // A25
		status = http.StatusCreated
	}
	answer := userPutJSON{User: name, Roles: result.Roles}
	if !result.Created && answer.Roles == nil {
		answer.Roles = []string{} // A26
	}
	c.answer(status, answer)
}

func (c *call) deleteUser(name string) { c.delete(auth.DeleteUser{Name: name}) }

func (c *call) delete(op auth.Operation) {
	_, from, ok := c.asRoot()
	if !ok {
		return
	}
	if _, ok := c.change(from, op); ok {
		c.answer(http.StatusOK, nil)
	}
}
