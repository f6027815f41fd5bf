"""Networks whose every weight is an agent that learns to learn (MPLP; Randazzo, Niklasson and Mordvintsev 2020).

After *MPLP: Learning a message passing learning protocol* (arXiv 2007.00970). A *learner* is an ordinary perceptron.
Its weights, biases, activations and its loss are agents. Each has a small memory of its own and follows a *rule*, a
recurrent network: it takes a message from the side of the loss, looks at what is near it, and passes a message on
towards the input. Agents of weights and biases also say by how much theirs is to change. There is no gradient in it.
The rules are what is learnt: by gradients through steps of learning (`trainer`), or by evolution (`learning_fitness`).

Letters: T steps of learning, B examples in a step, P parameters of all rules. A *lesson* is what a learner is taught:
T batches of examples, and others that it never sees. An inner step is one of the learner, a meta-step one of the rules.
"""

from neuralmutator.metalearning.message_passing.curves import descent_curve, learning_curve
from neuralmutator.metalearning.message_passing.layout import Loss, Start, Tree
from neuralmutator.metalearning.message_passing.learner import ACTIVATIONS, Learner, spread_start
from neuralmutator.metalearning.message_passing.lessons import Draw, Lesson, digits, samples, sinusoids
from neuralmutator.metalearning.message_passing.protocol import Agents, agents, as_network, calibrated, read_published
from neuralmutator.metalearning.message_passing.teaching import learning_fitness, meta_loss, trainer

__all__ = [
    "ACTIVATIONS",
    "Agents",
    "Draw",
    "Learner",
    "Lesson",
    "Loss",
    "Start",
    "Tree",
    "agents",
    "as_network",
    "calibrated",
    "descent_curve",
    "digits",
    "learning_curve",
    "learning_fitness",
    "meta_loss",
    "read_published",
    "samples",
    "sinusoids",
    "spread_start",
    "trainer",
]
