package e2e

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	etcd "go.etcd.io/etcd/client/v2"
)

// python3 is the one that Debian's python3-etcd is installed for.
const python3 = "/usr/bin/python3"

// Users and roles of python-etcd, and keys with its passwords.
func TestUsersOfPythonEtcd(t *testing.T) {
	t.Parallel()
	if err := exec.Command(python3, "-c", "import etcd").Run(); err != nil {
		t.Skip("python-etcd is needed: apt-get install python3-etcd")
	}
	s := newServer(t, "--bcrypt-cost", "4")
	s.start()
	host, port, err := net.SplitHostPort(strings.TrimPrefix(s.client, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	script := exec.Command(python3, "testdata/users.py", host, port)
	script.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	if out, err := script.CombinedOutput(); err != nil || string(out) != "all as expected\n" {
		t.Errorf("%v\n%s", err, out)
	}
}

// goClient is etcd's v2 client for Go.
func goClient(t *testing.T, s *server, user, password string) etcd.Client {
	t.Helper()
	c, err := etcd.New(etcd.Config{Endpoints: []string{s.client}, Username: user, Password: password})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// All calls for users, roles and passwords of the Go client.
func TestUsersOfTheGoClient(t *testing.T) {
	t.Parallel()
	s := newServer(t, "--bcrypt-cost", "4")
	s.start()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	anybody := goClient(t, s, "", "")
	must(etcd.NewAuthUserAPI(anybody).AddUser(ctx, "root", "rootpw"))
	must(etcd.NewAuthAPI(anybody).Enable(ctx))
	root := goClient(t, s, "root", "rootpw")
	users, roles := etcd.NewAuthUserAPI(root), etcd.NewAuthRoleAPI(root)
	must(roles.AddRole(ctx, "app"))
	granted, err := roles.GrantRoleKV(ctx, "app", []string{"/app/*"}, etcd.ReadWritePermission)
	if err != nil || !slices.Equal(granted.Permissions.KV.Write, []string{"/app/*"}) {
		t.Errorf("GrantRoleKV: %+v, %v", granted, err)
	}
	must(users.AddUser(ctx, "bob", "secret"))
	if u, err := users.GrantUser(ctx, "bob", []string{"app"}); err != nil || !slices.Equal(u.Roles, []string{"app"}) {
		t.Errorf("GrantUser: %+v, %v", u, err)
	}
	_, err = roles.RevokeRoleKV(ctx, "guest", []string{"/*"}, etcd.ReadWritePermission)
	must(err)
	keys := func(user, password string) etcd.KeysAPI { return etcd.NewKeysAPI(goClient(t, s, user, password)) }
	_, err = keys("bob", "secret").Set(ctx, "/app/a", "1", nil)
	must(err)
	for who, try := range map[string]func(context.Context) error{
		"a key elsewhere": func(ctx context.Context) error {
			_, err := keys("bob", "secret").Set(ctx, "/other", "1", nil)
			return err
		},
		"a guest": func(ctx context.Context) error { _, err := keys("", "").Get(ctx, "/app/a", nil); return err },
		"a wrong password": func(ctx context.Context) error {
			_, err := keys("bob", "guess").Get(ctx, "/app/a", nil)
			return err
		},
	} {
		var refused etcd.Error
		if err := try(ctx); !errors.As(err, &refused) || refused.Code != etcd.ErrorCodeUnauthorized {
			t.Errorf("%s: %v", who, err)
		}
	}
	_, err = users.ChangePassword(ctx, "bob", "other")
	must(err)
	_, err = keys("bob", "other").Get(ctx, "/app/a", nil)
	must(err)
	if _, err := keys("bob", "secret").Get(ctx, "/app/a", nil); err == nil {
		t.Error("the old password is right")
	}
	if u, err := users.RevokeUser(ctx, "bob", []string{"app"}); err != nil || len(u.Roles) != 0 {
		t.Errorf("RevokeUser: %+v, %v", u, err)
	}
	if u, err := users.GetUser(ctx, "bob"); err != nil || u.User != "bob" {
		t.Errorf("GetUser: %+v, %v", u, err)
	}
	if r, err := roles.GetRole(ctx, "app"); err != nil || r.Role != "app" {
		t.Errorf("GetRole: %+v, %v", r, err)
	}
	if names, err := roles.ListRoles(ctx); err != nil || !slices.Contains(names, "app") || !slices.Contains(names, "root") {
		t.Errorf("ListRoles: %v, %v", names, err)
	}
	must(users.RemoveUser(ctx, "bob"))
	must(roles.RemoveRole(ctx, "app"))
	if names, err := users.ListUsers(ctx); err != nil || !slices.Equal(names, []string{"root"}) {
		t.Errorf("ListUsers: %v, %v", names, err)
	}
	must(etcd.NewAuthAPI(root).Disable(ctx))
}
