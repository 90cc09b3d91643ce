package accounts

import (
	"net/http"
	"strconv"
	"strings"

	"canopy/etcdserver/auth"
)

// roleJSON is a role (A30).
type roleJSON struct {
	Role        string          `json:"role"`
	Permissions permissionsJSON `json:"permissions"`
}

type permissionsJSON struct {
	KV struct {
		Read  []string `json:"read"`
		Write []string `json:"write"`
	} `json:"kv"`
}

func (p permissionsJSON) permissions() auth.Permissions {
	return auth.Permissions{Read: p.KV.Read, Write: p.KV.Write}
}

// toRoleJSON shows a list that is nil as null (A30).
func toRoleJSON(r *auth.Role) roleJSON {
	j := roleJSON{Role: r.Name}
	j.Permissions.KV.Read, j.Permissions.KV.Write = r.Read, r.Write
	return j
}

func (c *call) listRoles() {
	s, _, ok := c.asRoot()
	if !ok {
		return
	}
	list := struct {
		Roles []roleJSON `json:"roles"`
	}{}
	for _, r := range s.Roles() {
		list.Roles = append(list.Roles, toRoleJSON(r))
	}
	c.answer(http.StatusOK, list)
}

func (c *call) showRole(name string) {
	s, _, ok := c.asRoot()
	if !ok {
		return
	}
	role := s.Role(name)
	if role == nil {
		c.fail(http.StatusNotFound, "auth: Role "+name+" does not exist.")
		return
	}
	c.answer(http.StatusOK, toRoleJSON(role))
}

func (c *call) putRole(name string) {
	_, from, ok := c.asRoot()
	if !ok {
		return
	}
	var wanted struct {
		Role                       string
		Permissions, Grant, Revoke permissionsJSON
	}
	if !c.decode(&wanted) {
		return
	}
	if wanted.Role != name {
		c.fail(http.StatusBadRequest, "Role JSON name does not match the name in the URL")
		return
	}
	result, ok := c.change(from, auth.PutRole{
		Name: name, Permissions: wanted.Permissions.permissions(), Grant: wanted.Grant.permissions(), Revoke: wanted.Revoke.permissions(),
	})
	if !ok {
		return
	}
	status := http.StatusOK
	if result.Created {
		status = http.StatusCreated
	}
	c.answer(status, toRoleJSON(result.Role))
}

func (c *call) deleteRole(name string) { c.delete(auth.DeleteRole{Name: name}) }

// explain tells root, or a user of the user's own rights, what allows a request.
func (c *call) explain() {
	s, from, ok := c.asAnybody()
	if !ok {
		return
	}
	now := int64(c.Member.Now())
	q := c.r.URL.Query()
	user, key, method := q.Get("user"), q.Get("key"), strings.ToUpper(q.Get("method"))
	if root := s.Rights(from.Requester, now).Root(); !root && (user == "" || user != from.User) {
		c.deny()
		return
	}
	recursive, err := strconv.ParseBool(q.Get("recursive"))
	if q.Get("recursive") != "" && err != nil {
		c.fail(http.StatusBadRequest, "recursive must be true or false")
		return
	}
	if user != "" && s.User(user) == nil {
		c.fail(http.StatusNotFound, "auth: User "+user+" does not exist.")
		return
	}
	right := auth.Write
	if method == "" || method == http.MethodGet || method == http.MethodHead {
		right = auth.Read
	}
	answer := struct {
		Allowed bool   `json:"allowed"`
		Enabled bool   `json:"enabled"`
		Right   string `json:"right"`
		Role    string `json:"role,omitempty"`
		Pattern string `json:"pattern,omitempty"`
	}{Right: right.String(), Enabled: s.Enabled()}
	answer.Role, answer.Pattern, answer.Allowed = s.Rights(auth.Requester{User: user}, now).Explain(right, key, recursive)
	c.w.Header().Set("X-Etcd-Cluster-Id", c.Cluster)
	c.answer(http.StatusOK, answer)
}
