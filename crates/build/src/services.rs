//! What a recipe wants to run in a view before anybody looks, and starting it.

use serde::Serialize;
use umbra_recipe::{CommandLine, Init, Ready, Recipe, Service};
use umbra_shadow::Shadow;
use umbra_shadow::provider::Running;
use umbra_shadow::startup;
use umbra_state::Command;

use crate::error::BuildError;
use crate::look::first_process;

/// What is to run in a view before anybody looks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Startup {
    /// The first process.
    pub init: Init,
    /// Whether the image is complete, so that what it still lacks is a fault.
    pub complete: bool,
    /// Services, in their order.
    pub services: Vec<Service>,
}

impl Startup {
    /// What a recipe wants after the step at `step`.
    pub fn after(recipe: &Recipe, step: usize) -> Self {
        Self {
            init: recipe.shadows.init,
            complete: step + 1 >= recipe.steps.len(),
            services: recipe.services_after(step).cloned().collect(),
        }
    }

    /// The same as shadows take it.
    pub fn in_shadow(&self) -> startup::Startup {
        startup::Startup {
            init: first_process(self.init),
            complete: self.complete,
            services: self.services.iter().map(service_in_shadow).collect(),
        }
    }
}

/// Starts it all, as [`startup::start`] does.
pub fn start(shadow: &dyn Shadow, wanted: &Startup) -> Result<Vec<Box<dyn Running>>, BuildError> {
    Ok(startup::start(shadow, &wanted.in_shadow())?)
}

fn service_in_shadow(service: &Service) -> startup::Service {
    let command = |line: &CommandLine| -> Command {
        let (user, workdir) = (service.user.as_deref(), service.workdir.as_deref());
        umbra_recipe::command(line, &service.env, user, workdir)
    };
    startup::Service {
        name: service.name.clone(),
        command: command(&service.run),
        ready: service.ready.as_ref().map(|ready| match ready {
            Ready::Port(port) => startup::Ready::Port(*port),
            Ready::Http(url) => startup::Ready::Http(url.clone()),
            Ready::Command(line) => startup::Ready::Command(command(line)),
            Ready::File(path) => startup::Ready::File(path.clone()),
        }),
        timeout: service.timeout,
    }
}
