package subtree

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"

	"canopy/client"
	"canopy/ctl/command"
)

func (t *tool) editCommand() *cobra.Command {
	return &cobra.Command{Use: "edit KEY", Short: "Change the value of a key in $EDITOR", Args: countArgs(1, 1),
		Long: "Change the value of a key in $VISUAL, $EDITOR or vi, or make the key. The value is saved if the key has not changed meanwhile.\n" +
			"Otherwise the present value is shown, the text stays in its file, and the exit status is 4. A TTL runs on.",
		RunE: func(c *cobra.Command, args []string) error { return t.edit(c.Context(), keyOf(args[0])) }}
}

func (t *tool) edit(ctx context.Context, key string) error {
	before, err := t.present(ctx, key)
	if err != nil {
		return err
	}
	file, err := os.CreateTemp("", "canopy-edit-*")
	if err != nil {
		return command.Usage("%w", err)
	}
	name, keep := file.Name(), false
	defer func() {
		if !keep {
			os.Remove(name) // nobody can do anything if it fails
		}
	}()
	_, err = file.WriteString(before.Value)
	if err = errors.Join(err, file.Close()); err != nil {
		return command.Usage("%w", err)
	}
	if err := t.runEditor(ctx, name); err != nil {
		return command.Usage("the editor: %w; %s is unchanged", err, key)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return command.Usage("%w", err)
	}
	value := string(text)
	if !strings.HasSuffix(before.Value, "\n") {
		value = strings.TrimSuffix(value, "\n") // editors end the last line
	}
	if value == before.Value {
		t.Tell("%s is unchanged", key)
		return nil
	}
	if err := t.save(ctx, before, value); err != nil {
		keep = true
		t.Tell("the text is in %s", name)
		return err
	}
	return nil
}

// present is a key, or what stands for one that does not exist: ModifiedIndex is 0.
func (t *tool) present(ctx context.Context, key string) (*client.Node, error) {
	n := &client.Node{Key: key}
	err := t.Run(ctx, func(ctx context.Context, c *client.Client) error {
		r, err := c.Get(ctx, key, client.GetOptions{Quorum: true})
		switch {
		case errors.Is(err, client.ErrKeyNotFound):
			return nil
		case err != nil:
			return err
		case r.Node == nil:
			return errNoNode
		case r.Node.Dir:
			return command.Usage("%s: is a directory", key)
		}
		n = r.Node
		return nil
	})
	return n, err
}

// runEditor lets the user change a file. The words of the variable are for a shell, as is usual.
func (t *tool) runEditor(ctx context.Context, file string) error {
	editor := "vi"
	for _, name := range []string{"EDITOR", "VISUAL"} {
		if text := t.Getenv(name); text != "" {
			editor = text
		}
	}
	run := exec.CommandContext(ctx, "sh", "-c", editor+` "$1"`, "sh", file)
	run.Stdin, run.Stdout, run.Stderr = t.In, t.Out, t.Err
	return run.Run()
}

// save swaps the value.
func (t *tool) save(ctx context.Context, before *client.Node, value string) error {
	now, err := t.present(ctx, before.Key)
	if err != nil {
		return err
	}
	o := client.SetOptions{TTL: ttlOf(now), PrevIndex: before.ModifiedIndex}
	if before.ModifiedIndex == 0 {
		o.PrevExist = client.Never
	}
	err = t.Run(ctx, func(ctx context.Context, c *client.Client) error {
		_, err := c.Set(ctx, before.Key, value, o)
		return err
	})
	if errors.Is(err, client.ErrCompareFailed) || errors.Is(err, client.ErrNodeExist) || errors.Is(err, client.ErrKeyNotFound) {
		if now, readErr := t.present(ctx, before.Key); readErr == nil && now.ModifiedIndex != 0 {
			t.Tell("%s has changed meanwhile; its value is now:\n%s", before.Key, now.Value)
		}
	}
	return err
}
