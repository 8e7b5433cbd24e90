//! Keys -> what the model is told.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::model::Model;

/// Longer than any class name.
const MAX_FILTER: usize = 40;

/// What a key came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyAction {
    /// The screen is to be drawn.
    Draw,
    /// The operator leaves.
    Quit,
}

/// Takes a key.
pub fn press(model: &mut Model, key: KeyEvent) -> KeyAction {
    if key.kind == KeyEventKind::Release {
        return KeyAction::Draw;
    }
    if key.modifiers.contains(KeyModifiers::CONTROL) && matches!(key.code, KeyCode::Char('c' | 'd')) {
        return KeyAction::Quit;
    }
    if model.typing {
        type_filter(model, key.code);
        return KeyAction::Draw;
    }
    match key.code {
        KeyCode::Char('q') => return KeyAction::Quit,
        KeyCode::Esc if !model.help && model.filter.is_empty() => return KeyAction::Quit,
        KeyCode::Esc if model.help => model.help = false,
        KeyCode::Esc => model.filter.clear(),
        KeyCode::Char('?' | 'h') => model.help = !model.help,
        KeyCode::Char('s') => model.sort = model.sort.next(),
        KeyCode::Char('p' | ' ') => model.paused = !model.paused,
        KeyCode::Char('/') => model.typing = true,
        KeyCode::Char('d') => model.denied_by = model.denied_by.other(),
        KeyCode::Down | KeyCode::Char('j') => model.skipped = (model.skipped + 1).min(last(model)),
        KeyCode::Up | KeyCode::Char('k') => model.skipped = model.skipped.saturating_sub(1),
        KeyCode::PageDown => model.skipped = (model.skipped + 10).min(last(model)),
        KeyCode::PageUp => model.skipped = model.skipped.saturating_sub(10),
        KeyCode::Home => model.skipped = 0,
        _ => {}
    }
    KeyAction::Draw
}

fn last(model: &Model) -> usize {
    model.shown().len().saturating_sub(1)
}

fn type_filter(model: &mut Model, code: KeyCode) {
    match code {
        KeyCode::Enter => model.typing = false,
        KeyCode::Esc => {
            model.typing = false;
            model.filter.clear();
        }
        KeyCode::Backspace => drop(model.filter.pop()),
        KeyCode::Char(letter) if model.filter.chars().count() < MAX_FILTER => model.filter.push(letter),
        _ => {}
    }
    model.skipped = 0;
}
