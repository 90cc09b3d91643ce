package main

import (
	"fmt"
	"strings"

	"github.com/sirupsen/logrus"
)

// mainPackage is that of lines that name none.
const mainPackage = "etcdmain"

// packageLevels formats the lines of packages that may be heard, and nothing
// of the others (S41). The logger's own level lets the most talkative through.
type packageLevels struct {
	logrus.Formatter
	usual  logrus.Level
	levels map[string]logrus.Level
}

// Format gives no bytes for a line that its package's level holds back.
func (p packageLevels) Format(e *logrus.Entry) ([]byte, error) {
	name, named := e.Data["pkg"].(string)
	if !named {
		name = mainPackage
	}
	limit, set := p.levels[name]
	if !set {
		limit = p.usual
	}
	if e.Level > limit {
		return nil, nil
	}
	return p.Formatter.Format(e)
}

// setPackageLevels takes the flag's text. One that is wrong has no effect but
// the error, for a line in the log.
func setPackageLevels(logger *logrus.Logger, text string) error {
	if text == "" {
		return nil
	}
	p := packageLevels{Formatter: logger.Formatter, usual: logger.GetLevel(), levels: map[string]logrus.Level{}}
	most := p.usual
	for part := range strings.SplitSeq(text, ",") {
		name, word, found := strings.Cut(part, "=")
		level, err := capnslogLevel(word)
		if !found || err != nil {
			return fmt.Errorf("couldn't parse log level string: %s, continuing with default levels", text)
		}
		if name == "*" {
			p.usual = level
		} else {
			p.levels[name] = level
		}
		most = max(most, level)
	}
	logger.SetFormatter(p)
	logger.SetLevel(most)
	return nil
}

// setLevel sets one level for all packages (S36).
func setLevel(logger *logrus.Logger, level logrus.Level) {
	if p, ok := logger.Formatter.(packageLevels); ok {
		logger.SetFormatter(p.Formatter)
	}
	logger.SetLevel(level)
}

// capnslogLevel reads a level by the names of the reference, and by our own.
func capnslogLevel(word string) (logrus.Level, error) {
	switch strings.ToUpper(word) {
	case "CRITICAL":
		return logrus.FatalLevel, nil
	case "NOTICE":
		return logrus.InfoLevel, nil
	}
	return logrus.ParseLevel(word)
}
