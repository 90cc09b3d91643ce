// Package process is what all commands that serve have in common: the log, the
// signals that end the process, the reports to systemd, the resources of the
// process, and its exit status.
package process

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"

	"canopy/config"
	"canopy/internal/redact"
)

// Options are what the command line says about a process.
type Options struct {
	Log   config.Log
	Notes []config.Note // are logged at the start
}

// Process is the process that serves.
type Process struct {
	Log     *logrus.Logger
	Systemd *Supervisor
}

// Run calls serve, and gives the exit status (F41). SIGTERM and SIGINT end the
// context of serve; a second signal ends the process at once (F38).
func Run(o Options, serve func(context.Context, *Process) error) (exit int) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	context.AfterFunc(ctx, stop)
	logger, closeLog, err := newLogger(o.Log)
	if err != nil {
		fmt.Fprintln(os.Stderr, redact.Passwords(err.Error()))
		return 1
	}
	defer closeLog()
	defer logStop(ctx, logger)()
	if err := setPackageLevels(logger, o.Log.PackageLevels); err != nil {
		logger.Warn(err)
	}
	logNotes(logger, o.Notes)
	p := &Process{Log: logger, Systemd: newSupervisor(logger)}
	defer p.Systemd.begin(ctx)()
	if err := serve(ctx, p); err != nil {
		logger.Error(err)
		return 1
	}
	return 0
}

// logNotes logs remarks about flags and variables.
func logNotes(logger *logrus.Logger, notes []config.Note) {
	for _, note := range notes {
		if note.Warning {
			logger.Warn(note.Text)
		} else {
			logger.Info(note.Text)
		}
	}
}

// logStop gives a function that is called when everything has ended. If a
// signal has ended ctx, it logs how long the stop took.
func logStop(ctx context.Context, logger *logrus.Logger) (ended func()) {
	asked := make(chan time.Time, 1)
	unhook := context.AfterFunc(ctx, func() { asked <- time.Now() })
	return func() {
		if !unhook() {
			logger.Infof("stopped; it took %v after: %v", time.Since(<-asked).Round(time.Millisecond), context.Cause(ctx))
		}
	}
}
