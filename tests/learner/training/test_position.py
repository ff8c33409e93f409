"""Where a run stands, as files of this Thaw and of earlier ones tell it."""

from learner.training.position import Position, rank_of


def test_a_position_comes_back_as_it_was_written():
    position = Position(phase=1, epoch=2, epochs_done=5, best=rank_of(0.8, 0.4), best_epoch=4)
    assert Position.from_dict(position.to_dict()) == position
    assert Position.from_dict(Position().to_dict()) == Position()


def test_the_best_so_far_of_a_resume_point_that_ranked_by_accuracy_stays_the_best_so_far():
    earlier = Position().to_dict()
    del earlier["rank"]
    assert Position.from_dict(earlier | {"best": (0.8, -0.4)}).best == rank_of(0.8, 0.4)
    assert Position.from_dict(earlier | {"best": None}).best is None


def test_the_lowest_loss_is_best_whatever_the_accuracy_and_no_number_is_the_worst():
    assert rank_of(0.5, 0.1) > rank_of(0.9, 0.2) > rank_of(0.9, None)
    assert rank_of(0.9, 0.2) > rank_of(0.8, 0.2)
