package ctl

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"canopy/client"
	"canopy/ctl/prompt"
)

func userCommands(s *session) []*cobra.Command {
	return []*cobra.Command{
		group("user", "Show and change users", s.userListCommand(), s.userAddCommand(), s.userGetCommand(), s.userRemoveCommand(),
			s.userRolesCommand("grant", "Give roles to a user", (*client.Client).GrantRoles),
			s.userRolesCommand("revoke", "Take roles from a user", (*client.Client).RevokeRoles), s.userPasswdCommand()),
		group("role", "Show and change roles", s.roleListCommand(), s.roleAddCommand(), s.roleGetCommand(), s.roleRemoveCommand(),
			s.rolePatternCommand("grant", "Give a role a right to a key or a prefix", (*client.Client).GrantPatterns),
			s.rolePatternCommand("revoke", "Take a right from a role", (*client.Client).RevokePatterns)),
		group("auth", "Have users and roles matter, or not", s.authEnableCommand(), s.authDisableCommand()),
		group("token", "Tokens stand for a user without the password", s.tokenAddCommand(), s.tokenListCommand(), s.tokenRevokeCommand()),
	}
}

// named is a command about one user or role; missing is what it says without a name.
func (s *session) named(use, short, missing string, do func(ctx context.Context, c *client.Client, name string) error) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, RunE: func(c *cobra.Command, args []string) error {
		if len(args) == 0 || args[0] == "" {
			return plain(exitUsage, "%s", missing)
		}
		if len(args) > 1 {
			return usage("too many arguments")
		}
		return s.members(c.Context(), func(ctx context.Context, cl *client.Client) error { return do(ctx, cl, args[0]) })
	}}
}

const (
	noUser = "Please provide a username"
	noRole = "Please provide a role name"
)

// isMissing tells whether an error says that a user or role does not exist.
func isMissing(err error) bool {
	var said *client.Error
	return errors.As(err, &said) && said.Status == http.StatusNotFound
}

func (s *session) userListCommand() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List the users", Args: noArguments, RunE: func(c *cobra.Command, _ []string) error {
		return s.members(c.Context(), func(ctx context.Context, cl *client.Client) error {
			names, err := cl.Users(ctx)
			if err != nil {
				return err
			}
			return s.list("USER", names)
		})
	}}
}

func (s *session) userAddCommand() *cobra.Command {
	return s.named("add NAME[:PASSWORD]", "Make a user; without a password it is asked for", noUser, func(ctx context.Context, c *client.Client, arg string) error {
		name, password, found := strings.Cut(arg, ":")
		if _, err := c.User(ctx, name); err == nil {
			return plain(exitUsage, "User %s already exists", name)
		} else if !isMissing(err) {
			return err
		}
		if !found {
			var err error
			if password, err = prompt.Password(s.OpenTerminal, s.In, "New password: "); err != nil {
				return err
			}
			var cancel context.CancelFunc
			ctx, cancel = s.bounded(context.WithoutCancel(ctx)) // the user has taken time to type
			defer cancel()
		}
		if err := c.PutUser(ctx, name, password); err != nil {
			return err
		}
		s.printf("User %s created\n", name)
		return nil
	})
}

func (s *session) userGetCommand() *cobra.Command {
	return s.named("get NAME", "Show a user", noUser, func(ctx context.Context, c *client.Client, name string) error {
		u, err := c.User(ctx, name)
		if err != nil {
			return err
		}
		if s.output == formatJSON {
			return s.json(struct {
				User  string   `json:"user"`
				Roles []string `json:"roles"`
			}{u.Name, append([]string{}, u.Roles...)})
		}
		s.printf("User: %s\nRoles: %s\n", u.Name, strings.Join(u.Roles, " "))
		return nil
	})
}

func (s *session) userRemoveCommand() *cobra.Command {
	return s.named("remove NAME", "Delete a user", noUser, func(ctx context.Context, c *client.Client, name string) error {
		if err := c.DeleteUser(ctx, name); err != nil {
			return err
		}
		s.printf("User %s removed\n", name)
		return nil
	})
}

func (s *session) userRolesCommand(name, short string, change func(*client.Client, context.Context, string, ...string) error) *cobra.Command {
	var roles []string
	c := s.named(name+" NAME --roles ROLE[,ROLE…]", short, noUser, func(ctx context.Context, c *client.Client, user string) error {
		if len(roles) == 0 {
			return plain(exitUsage, "No roles specified; please use `-roles`")
		}
		if _, err := c.User(ctx, user); err != nil {
			return err
		}
		if err := change(c, ctx, user, roles...); err != nil {
			return err
		}
		s.printf("User %s updated\n", user)
		return nil
	})
	c.Flags().StringSliceVar(&roles, "roles", nil, "roles, with commas or repeated") // C54
	return c
}

func (s *session) userPasswdCommand() *cobra.Command {
	return s.named("passwd NAME", "Change the password of a user", noUser, func(ctx context.Context, c *client.Client, name string) error {
		if _, err := c.User(ctx, name); err != nil {
			return err
		}
		password, err := prompt.Password(s.OpenTerminal, s.In, "New password: ")
		if err != nil {
			return err
		}
		ctx, cancel := s.bounded(context.WithoutCancel(ctx))
		defer cancel()
		if err := c.PutUser(ctx, name, password); err != nil {
			return err
		}
		s.printf("Password updated\n")
		return nil
	})
}

func (s *session) roleListCommand() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List the roles", Args: noArguments, RunE: func(c *cobra.Command, _ []string) error {
		return s.members(c.Context(), func(ctx context.Context, cl *client.Client) error {
			names, err := cl.Roles(ctx)
			if err != nil {
				return err
			}
			return s.list("ROLE", names)
		})
	}}
}

func (s *session) roleAddCommand() *cobra.Command {
	return s.named("add NAME", "Make a role", noRole, func(ctx context.Context, c *client.Client, name string) error {
		if _, err := c.Role(ctx, name); err == nil {
			return plain(exitUsage, "Role %s already exists", name)
		} else if !isMissing(err) {
			return err
		}
		if err := c.CreateRole(ctx, client.Role{Name: name}); err != nil {
			return err
		}
		s.printf("Role %s created\n", name)
		return nil
	})
}

func (s *session) roleGetCommand() *cobra.Command {
	return s.named("get NAME", "Show a role", noRole, func(ctx context.Context, c *client.Client, name string) error {
		r, err := c.Role(ctx, name)
		if err != nil {
			return err
		}
		if s.output == formatJSON {
			return s.json(struct {
				Role  string   `json:"role"`
				Read  []string `json:"read"`
				Write []string `json:"write"`
			}{r.Name, append([]string{}, r.Read...), append([]string{}, r.Write...)})
		}
		s.printf("Role: %s\nKV Read:\n%sKV Write:\n%s", r.Name, indented(r.Read), indented(r.Write))
		return nil
	})
}

func indented(patterns []string) string {
	var b strings.Builder
	for _, p := range patterns {
		fmt.Fprintf(&b, "\t%s\n", p)
	}
	return b.String()
}

func (s *session) roleRemoveCommand() *cobra.Command {
	return s.named("remove NAME", "Delete a role", noRole, func(ctx context.Context, c *client.Client, name string) error {
		if err := c.DeleteRole(ctx, name); err != nil {
			return err
		}
		s.printf("Role %s removed\n", name)
		return nil
	})
}

// rights are the flags of role grant and role revoke (C53).
type rights struct {
	path                   string
	read, write, readWrite bool
}

func (r *rights) lists() (read, write []string, err error) {
	kept := strings.TrimSuffix(r.path, "/")
	set := 0
	for _, on := range []bool{r.read, r.write, r.readWrite} {
		if on {
			set++
		}
	}
	clean := path.Clean("/" + r.path)
	switch {
	case r.path == "":
		err = plain(exitUsage, "No path specified; please use `-path`")
	case r.path != "/" && kept != clean:
		err = plain(exitUsage, "Not canonical path; please use `-path=%s`", clean)
	case set != 1:
		err = plain(exitUsage, "Please specify exactly one of -read, -write or -readwrite")
	}
	if r.read || r.readWrite {
		read = []string{r.path}
	}
	if r.write || r.readWrite {
		write = []string{r.path}
	}
	return read, write, err
}

func (s *session) rolePatternCommand(name, short string, change func(*client.Client, context.Context, string, []string, []string) error) *cobra.Command {
	var r rights
	c := s.named(name+" NAME --path PATTERN --read|--write|--readwrite", short, noRole, func(ctx context.Context, c *client.Client, role string) error {
		read, write, err := r.lists()
		if err != nil {
			return err
		}
		if _, err := c.Role(ctx, role); err != nil {
			return err
		}
		if err := change(c, ctx, role, read, write); err != nil {
			return err
		}
		s.printf("Role %s updated\n", role)
		return nil
	})
	c.Flags().StringVar(&r.path, "path", "", "a key, or the beginning of keys followed by *")
	c.Flags().BoolVar(&r.read, "read", false, "the right to read")
	c.Flags().BoolVar(&r.write, "write", false, "the right to write")
	c.Flags().BoolVar(&r.readWrite, "readwrite", false, "both")
	return c
}

func (s *session) authEnableCommand() *cobra.Command {
	return s.authCommand("enable", "Have users and roles matter", "Authentication Enabled", (*client.Client).EnableUsers)
}

func (s *session) authDisableCommand() *cobra.Command {
	return s.authCommand("disable", "Let everybody do everything", "Authentication Disabled", (*client.Client).DisableUsers)
}

func (s *session) authCommand(name, short, done string, do func(*client.Client, context.Context) error) *cobra.Command {
	return &cobra.Command{Use: name, Short: short, Args: noArguments, RunE: func(c *cobra.Command, _ []string) error {
		return s.members(c.Context(), func(ctx context.Context, cl *client.Client) error {
			if err := do(cl, ctx); err != nil {
				return err
			}
			s.printf("%s\n", done)
			return nil
		})
	}}
}
